"""The comparison with other packages: README and page agree, our column is true, and (`-m peers`) so are others' cells.

`-m peers` installs tests/requirements-peers.txt into an environment, or uses the one that RERANK_PEERS_VENV names.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from rerank_cli import Reranker
from rerank_cli.version import __version__

REQUIREMENTS = ROOT / "tests" / "requirements-peers.txt"
DEFAULT_MODEL = {
    "flashrank": "from flashrank import Ranker; Ranker(cache_dir='.')",
    "fastembed": "from fastembed.rerank.cross_encoder import TextCrossEncoder as T;"
    "T('Xenova/ms-marco-MiniLM-L-6-v2', cache_dir='.')",
}


def table(page: str) -> dict[str, list[str]]:
    """Rows of the first table whose head names rank-llm, by their first cell."""
    lines = (ROOT / page).read_text("utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| |") and "rank-llm" in line)
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[start:]]
    end = next(number for number, row in enumerate(cells) if not row)
    return {re.sub(r"[\[\]`]|\(.*?\)", "", row[0]): row[1:] for row in cells[:end]}


def test_the_short_table_is_a_part_of_the_long_one():
    short, long = table("README.md"), table("docs/comparison.md")
    names = [[re.sub(r"\[(.*)\]\(.*\)", r"\1", name) for name in rows.pop("")] for rows in (short, long)]
    assert names[0] == names[1]
    assert short.items() <= long.items()


def test_the_versions_are_those_that_are_checked():
    names, versions = (table("docs/comparison.md")[row] for row in ("", "version"))
    assert versions[0] == __version__
    for pin in re.findall(r"(?m)^[\w.-]+==.*", REQUIREMENTS.read_text("utf-8")):
        name, version = pin.split("==")
        assert any(
            f"/project/{name}/" in cell and own.endswith(version) for cell, own in zip(names, versions, strict=True)
        )


def test_every_row_says_how_it_was_checked():
    page = (ROOT / "docs" / "comparison.md").read_text("utf-8")
    told = [
        line.split("|")[1].strip() for line in page[page.index("## How it was checked") :].splitlines() if "|" in line
    ]
    told = [part for cell in told for part in re.split(r", ", cell)]
    rows = set(table("docs/comparison.md")) - {"", "---", "version"}
    assert not {row for row in rows if row not in told and not row.startswith("installed")}


def test_our_scores_do_not_depend_on_other_documents_and_the_end_of_a_long_one_counts():
    query, texts = "capital of France", ["Paris is the capital of France.", "A dog.", "London is in England " * 20]
    filler = "The weather was fine. " * 300
    with Reranker("builtin") as reranker:
        alone = [reranker.rank(query, [text]).hits[0].relevance_score for text in texts]
        together = {hit.index: hit.relevance_score for hit in reranker.rank(query, texts).hits}
        ends = [filler + texts[0], filler + texts[1]]
        best = reranker.rank(query, ends).hits
    assert alone == [together[index] for index in range(3)]
    assert best[0].index == 0
    assert best[0].relevance_score > best[1].relevance_score


@pytest.fixture(scope="module")
def venv(tmp_path_factory) -> Path:
    kept = os.environ.get("RERANK_PEERS_VENV")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("peers") / "venv"
    if not (folder / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin/pip", "install", "--quiet", "-r", REQUIREMENTS], check=True)
        (folder / "installed").touch()
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A small cross-encoder with random weights, as fp32 and as 8-bit ONNX."""
    import onnx
    import tiny_models
    from onnxruntime.quantization import quantize_dynamic

    folder = tiny_models.bert(tmp_path_factory.mktemp("peers") / "model")
    argv = ["-m", "rerank_cli", "models", "convert", str(folder), "--form", "fp32", "-o", str(folder / "onnx")]
    subprocess.run([sys.executable, *argv], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    onnx.save(onnx.load(folder / "onnx" / "model.onnx"), folder / "model.onnx")
    quantize_dynamic(folder / "model.onnx", folder / "model_int8.onnx")
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("cls", "sep", "pad", "unk", "mask")}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    return folder


@pytest.mark.peers
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("package", sorted(DEFAULT_MODEL))
def test_another_package_scores_as_the_page_says(package, venv, model):
    argv = [venv / "bin/python", Path(__file__).with_name("peer_checks.py"), package, model]
    found = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
    assert all(facts["truncates"] for facts in found.values())
    assert not found["model_int8.onnx"]["invariant"]


@pytest.mark.peers
@pytest.mark.timeout(1800)
def test_only_jina_cli_installs_a_command_of_its_own(venv):
    code = "from importlib.metadata import distribution as d, sys; print([e.name for e in d(sys.argv[1]).entry_points])"
    for name in ("FlashRank", "fastembed", "rerankers", "jina-cli"):
        done = subprocess.run([venv / "bin/python", "-c", code, name], check=True, capture_output=True, text=True)
        assert done.stdout.strip() == ("['jina']" if name == "jina-cli" else "[]")


@pytest.mark.peers
@pytest.mark.timeout(1800)
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs network namespaces")
def test_others_need_the_network_at_first_use(venv, tmp_path):
    offline = ["unshare", "--map-root-user", "--net"]
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "JINA_API_KEY": "none"}
    ours = [sys.executable, "-m", "rerank_cli", "-q", "tea", "-f", "ids", "-n", "1"]
    run = {"cwd": tmp_path, "env": env, "capture_output": True, "text": True, "input": "tea\ncar\n"}
    assert subprocess.run([*offline, *ours], check=False, **run).stdout == "0\n"
    for program in DEFAULT_MODEL.values():
        assert subprocess.run([*offline, venv / "bin/python", "-c", program], check=False, **run).returncode == 1
    assert subprocess.run([*offline, venv / "bin/jina", "rerank", "tea"], check=False, **run).returncode == 2
