"""Step 4b, checks: the seeds (capital, e-mails, cameras) and the forty hand-written cases, for one system.

    python training/checks.py main@0.8/160

The cases are frozen in tests/cases/quality_cases.yaml and the seeds in sample_data; neither is ever trained on. It
tells what came first and with which score, and judges nothing else.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import common
import systems
import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = common.HERE.parent


def text(document: str | Mapping[str, Any] | list[str]) -> str:
    """A document as the package renders it: block-style YAML of its fields, or its parts joined by blank lines."""
    if isinstance(document, str):
        return document
    if isinstance(document, list):
        return "\n\n".join(document)
    return yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True, width=10**9)


def requests() -> dict[str, tuple[str, list[str]]]:
    """Name → query and documents of every check."""
    found = {}
    for path in sorted((ROOT / "sample_data").glob("*.json")):
        record = json.loads(path.read_text())
        if isinstance(record, dict) and "documents" in record:
            found[path.stem] = (record["query"], [text(d) for d in record["documents"]])
    cases = yaml.safe_load((ROOT / "tests/cases/quality_cases.yaml").read_text())["cases"]
    return found | {c["id"]: (c["query"], [text(d) for d in c["documents"]]) for c in cases}


def best() -> dict[str, int]:
    """The right document of each hand-written case."""
    cases = yaml.safe_load((ROOT / "tests/cases/quality_cases.yaml").read_text())["cases"]
    return {c["id"]: c["best"] for c in cases}


def show(query: str, documents: list[str], scores: list[float]) -> None:
    """A ranking with relevance scores, one line a document."""
    print(f"\n{query}")
    for i in sorted(range(len(scores)), key=lambda i: -scores[i]):
        print(f"  {1 / (1 + math.exp(-scores[i])):.3f} {scores[i]:7.2f}  [{i}] {documents[i][:90]!r}")


def main(system: str) -> None:
    """Print the seeds' rankings and which cases are right."""
    asked, right = requests(), best()
    scores = dict(zip(asked, systems.scorer(system, common.settings()).score(list(asked.values())), strict=True))
    for name in (n for n in asked if n not in right):
        show(*asked[name], scores[name])
    wrong = [n for n, place in right.items() if max(range(len(scores[n])), key=scores[n].__getitem__) != place]
    for name in wrong:
        show(*asked[name], scores[name])
    print(f"\n{system}: {len(right) - len(wrong)} of {len(right)} cases right; wrong: {' '.join(wrong)}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else str(Path("runs/main")))
