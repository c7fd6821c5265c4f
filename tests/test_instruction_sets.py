"""The embedded model's logits are equal to the last bit on emulated processors (`-m qemu`; CONTRIBUTING.md)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from conftest import SAMPLES

SCORE = """
import json, sys
from rerank_cli import Reranker
query, documents = json.load(sys.stdin)
with Reranker("builtin") as reranker:
    print(json.dumps([score.hex() for score in reranker.score(query, documents)]))
"""

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(900)]


def logits(*emulator: str) -> list[str]:
    """Raw scores of the sample e-mails, as hexadecimal floats, by this Python or an emulated one."""
    request = json.loads((SAMPLES / "emails.json").read_text())
    texts = [f"Title: {d['Title']}\nContent: {d['Content']}\n" for d in request["documents"]]
    asked = json.dumps([request["query"], texts])
    run = subprocess.run(
        [*emulator, sys.executable, "-c", SCORE], input=asked, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    scores: list[str] = json.loads(run.stdout)
    return scores


@pytest.mark.parametrize("processor", ["Haswell", "EPYC-Rome"])
def test_logits_do_not_depend_on_the_instruction_set(processor: str) -> None:
    """Both have AVX2 and neither AVX512 nor VNNI; the machine itself may have them."""
    emulator = shutil.which("qemu-x86_64")
    assert emulator, "install qemu-user (Debian) first"
    assert logits(emulator, "-cpu", processor) == logits()
