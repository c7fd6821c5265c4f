"""The table of known rerankers: each row is true of a repository with the settings that its model was published with.

The settings are in cases/known_models.json. `needs` names a part of the package without which a row is not checked.
"""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from repositories import cached
from tiny_models import own_caches  # noqa: F401 fixture

from rerank_cli import models
from rerank_cli.errors import ModelError, UsageError
from rerank_cli.models.known import Known, known, suggestion
from rerank_cli.models.reference import LoadPolicy
from rerank_cli.models.refusals import OWN_CODE
from rerank_cli.scorers.remote.providers import load_table
from rerank_cli.scorers.selection import Machine, choose
from rerank_cli.settings import ModelSettings

HERE = Path(__file__).parent
CASES = json.loads((HERE / "cases" / "known_models.json").read_text())
SCORES = json.loads((HERE / "models_scores.json").read_text())
ROWS = [row for row in known() if row.name != "builtin"]
PARTS = {
    "template": "rerank_cli.models.templates",
    "seq2seq": "rerank_cli.models.seq2seq",
    "late-interaction": "rerank_cli.models.late_interaction",
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_is_true_of_the_published_settings(row: Known, tmp_path: Path) -> None:
    case = CASES[row.name]
    there = "needs" not in case or find_spec(PARTS[case["needs"]]) is not None
    cached(tmp_path, row.name, {"tokenizer.json": {}, **case["files"]}, case["tensors"])
    if row.status == "refused":
        with pytest.raises(ModelError) as caught:
            models.resolve(row.name, LoadPolicy(offline=True))
        assert caught.value.hint
        assert not there or case["says"] in caught.value.message
        return
    if not there:
        pytest.skip(f"needs {PARTS[case['needs']]}")
    model = models.resolve(row.name, LoadPolicy(offline=True))
    assert (model.family, model.max_tokens) == (row.family, row.max_tokens)
    machine = Machine(torch=True, cuda=True)  # a GPU does not lead to weights that torch cannot run
    on = choose(model, ModelSettings(model=row.name), machine).backend
    assert on == ("onnx" if "ONNX" in row.reason else "torch")


def test_the_window_of_the_embedded_model_is_its_own() -> None:
    (row,) = [row for row in known() if row.window]
    model = models.resolve(row.name, LoadPolicy())
    assert (row.name, row.window, row.max_tokens) == ("builtin", model.window, model.max_tokens)


def test_rows_and_cases_belong_together() -> None:
    assert {row.name for row in ROWS} == set(CASES)
    assert len({row.name for row in known()}) == len(known()) >= 40
    assert all(row.reason for row in known() if row.status != "construction")


def test_what_is_refused_here_is_refused_among_the_published_scores() -> None:
    refused = {row.name for row in ROWS if row.status == "refused"}
    works = {row.name for row in ROWS if row.status != "refused"}
    assert set(SCORES["refused"]) == refused & set(SCORES["scores"])
    assert len(works & set(SCORES["scores"])) >= 15
    assert all("ONNX" in row.reason for row in ROWS if row.name in SCORES["backends"])


@pytest.mark.parametrize(("status", "reason", "verdict"), [
    ("verified", "tests/x.py", "works (verified by tests/x.py)"),
    ("construction", "", "should work"),
    ("construction", "two logits", "should work (two logits)"),
    ("refused", "it is listwise", "refused because it is listwise"),
])  # fmt: skip
def test_a_status_is_one_of_three(status, reason: str, verdict: str) -> None:
    assert Known("a/b", 1, "en", "mit", "decoder", 512, status, reason).verdict == verdict


def test_the_command_lists_all_rows(run) -> None:
    rows = run("models", "known", "--json").json
    assert [row["name"] for row in rows] == [row.name for row in known()]
    assert {row["status"] for row in rows} == {"verified", "construction", "refused"}
    assert rows[0]["verdict"] == "works (verified by tests/test_builtin_model.py)"
    text = run("models", "known").text
    for row in known():
        assert row.name in text
        assert row.verdict in text


def test_what_the_hints_name_is_there() -> None:
    runs = {row.name for row in known() if row.status != "refused"}
    texts = [row.hint for row in OWN_CODE] + [row.reason for row in known()]
    named = {name for text in texts for name in re.findall(r"`-m ([^`]+)`", text)}
    assert len(named) >= 5
    for name in named:
        provider, colon, _ = name.partition(":")
        assert provider in load_table().names() if colon else name in runs, name


@pytest.mark.parametrize(("written", "meant"), [
    ("bge-reranker-v2-m3", "BAAI/bge-reranker-v2-m3"),
    ("baai/bge-reranker-v2-m3", "BAAI/bge-reranker-v2-m3"),
    ("BGE-Reranker-v2-m3@main", "BAAI/bge-reranker-v2-m3"),
    ("BAAI/bge-rerank-v2-m3", "BAAI/bge-reranker-v2-m3"),
    ("ms-marco-MiniLM-L-6-v2", "cross-encoder/ms-marco-MiniLM-L6-v2"),
    ("Qwen3-Reranker-0.6b", "Qwen/Qwen3-Reranker-0.6B"),
    ("colbertv2", "colbert-ir/colbertv2.0"),
])  # fmt: skip
def test_a_name_leads_to_the_model_that_is_meant(written: str, meant: str) -> None:
    assert suggestion(written) == f"did you mean `-m {meant}`?"


def test_to_fetch_what_is_refused_is_not_proposed() -> None:
    with pytest.raises(ModelError, match="is not in the cache") as caught:
        models.resolve("jinaai/jina-reranker-v3", LoadPolicy(offline=True))
    assert caught.value.hint.startswith("to fetch it does not help: it is refused because it is listwise")


def test_other_names_lead_nowhere() -> None:
    assert suggestion("acme/model") is None
    assert suggestion("BAAI/bge-reranker-v2-m3") in {None, "did you mean `-m dragonkue/bge-reranker-v2-m3-ko`?"}
    with pytest.raises(UsageError, match="unknown model `bge-reranker-v2-m3`") as caught:
        models.resolve("bge-reranker-v2-m3")
    assert caught.value.hint == "did you mean `-m BAAI/bge-reranker-v2-m3`?"


def test_the_command_line_says_what_was_meant(run) -> None:
    done = run("-q", "x", "-m", "mxbai-rerank-base-v1", stdin="a\nb\n")
    assert (done.code, done.err.splitlines()[-1]) == (2, "hint: did you mean `-m mixedbread-ai/mxbai-rerank-base-v1`?")
