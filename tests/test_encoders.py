"""Late-interaction and embedding models score like sentence-transformers, and wrong inputs would show."""

# ruff: noqa: F811
from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_encoders as encoders
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import DOCUMENTS, LONG, QUERY, edit, made, own_caches  # noqa: F401 fixtures

from rerank_cli.records import Pair, Score
from rerank_cli.report import Report
from rerank_cli.scorers.encoded import open_encoded
from rerank_cli.scorers.encoding import Encoder
from rerank_cli.scorers.open_local import make_plan, open_engine, open_local, pad_id
from rerank_cli.scorers.vectors import VectorMemory, maxsim, similarity
from rerank_cli.settings import Limits, ModelSettings

QUERIES = [QUERY, "yes", "Which city is the capital of Nevada, and why? " * 6]
TEXTS = [*DOCUMENTS, LONG, LONG[7:], DOCUMENTS[0] * 3]
PAIRS = [Pair(query, text, 0) for query in QUERIES for text in TEXTS]
CUT = Limits(max_tokens_per_doc=1_000_000, long_documents="truncate")
KINDS = [*encoders.LATE, *encoders.EMBEDDING]


def folder_of(made, name: str) -> Path:
    return made.folder(name, encoders.LATE.get(name) or encoders.EMBEDDING[name])


def settings_of(folder: Path, **more: Any) -> ModelSettings:
    kind = "auto" if folder.name in encoders.LATE else "embedding"
    return ModelSettings(**{"model": str(folder), "load_as": kind, "backend": "torch", "threads": 2, **more})


def scored(folder: Path, pairs: list[Pair] = PAIRS, limits: Limits = CUT, *, alone: bool = False, **more: Any) -> Any:
    scorer = open_local(settings_of(folder, **more), Report())
    groups = [[pair] for pair in pairs] if alone else [pairs]
    values = [score.value for group in groups for score in scorer.score(group, limits)]
    scorer.close()
    return np.array(values)


def expected_of(made, name: str, **options: Any) -> Any:
    late = name in encoders.LATE
    return np.array(encoders.oracle(folder_of(made, name), QUERIES, TEXTS, late=late, **options)).ravel()


@pytest.mark.parametrize("name", KINDS)
def test_scores_equal_those_of_sentence_transformers_together_and_alone(made, name: str) -> None:
    expected = expected_of(made, name)
    together, alone = (scored(folder_of(made, name), alone=how) for how in (False, True))
    assert np.abs(together - expected).max() <= 1e-4
    assert np.abs(alone - expected).max() <= 1e-4
    assert np.abs(alone - together).max() <= 1e-5 * max(1, np.abs(expected).max())


@pytest.mark.parametrize("name", ["colbert", "pylate", "lfm2", "embedding", "qwen-embedding"])
@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_converted_copies_score_like_sentence_transformers(made, name: str, backend: str) -> None:
    from rerank_cli import models
    from rerank_cli.convert.model import convert

    load_as = "auto" if name in encoders.LATE else "embedding"
    target = made.root / "copies" / name
    if not target.exists():
        model = models.resolve(str(folder_of(made, name)), models.LoadPolicy(load_as=load_as))
        convert(model, ("fp32", "int8", "ir"), target, 2)
    found = scored(target, backend=backend, load_as=load_as)
    assert np.abs(found - expected_of(made, name)).max() <= 1e-4


@pytest.mark.parametrize(("name", "role"), [("embedding", "query"), ("qwen-embedding", "query"), ("pylate-plain", "")])
def test_an_instruction_takes_the_place_of_the_prompt_of_queries(made, name: str, role: str) -> None:
    folder = folder_of(made, name)
    marker = "" if role else "[Q] "
    expected = expected_of(made, name, prompt=marker + "Given a claim, find evidence: ")
    found = scored(folder, instruction="Given a claim, find evidence: ")
    assert np.abs(found - expected).max() <= 1e-4
    assert np.abs(found - scored(folder)).max() > 1e-3


def test_a_passage_prompt_is_applied_to_documents(made, tmp_path: Path) -> None:
    """sentence-transformers 6.2 finds it only by name."""
    expected = scored(folder_of(made, "embedding"))
    folder = made.copied("embedding", tmp_path / "embedding")
    edit(folder / "config_sentence_transformers.json", prompts={"query": "query: ", "passage": "passage: "})
    assert scored(folder) == pytest.approx(expected, abs=1e-6)
    edit(folder / "config_sentence_transformers.json", prompts={"query": "query: "})
    assert np.abs(scored(folder) - expected).max() > 0.02


def changed(folder: Path, change) -> Any:
    """Scores with other facts: `change(encodings)` gives new ones."""
    plan = make_plan(settings_of(folder))
    encoder = Encoder(plan.model.tokenizer)
    model = replace(plan.model, pad_id=pad_id(plan.model, encoder), encodings=change(plan.model.encodings))
    scorer = open_encoded(model, encoder, open_engine(model, encoder, plan.choice, 2), plan.info, None, Report())
    return np.array([score.value for score in scorer.score(PAIRS, CUT)])


def query(**values: Any):
    return lambda encodings: replace(encodings, query=replace(encodings.query, **values))


def document(**values: Any):
    return lambda encodings: replace(encodings, document=replace(encodings.document, **values))


def swapped(encodings):
    one, other = encodings.query, encodings.document
    return replace(
        encodings,
        query=replace(one, marker=other.marker, prompt=other.prompt),
        document=replace(other, marker=one.marker, prompt=one.prompt),
    )


MISTAKES = {
    "no query marker": ("pylate", query(marker="")),
    "no document marker": ("pylate", document(marker="")),
    "markers swapped": ("pylate", swapped),
    "no expansion": ("pylate", query(fill_to=0)),
    "expansion attended to": ("pylate", query(attends=True)),
    "another filler": ("pylate", query(filler="[PAD]")),
    "no skip list": ("pylate", document(skipped=())),
    "not normalised": ("pylate", lambda encodings: replace(encodings, normalized=False)),
    "longer documents": ("pylate", document(max_tokens=60)),
    "longer queries": ("pylate", query(max_tokens=32)),
    "ColBERT without markers": ("colbert", swapped),
    "ColBERT without a skip list": ("colbert", document(skipped=())),
    "ColBERT without expansion": ("colbert", query(fill_to=0)),
    "prompts swapped": ("embedding", swapped),
    "no prompt": ("embedding", query(prompt="")),
    "cosine for dot": ("embedding-dot", lambda encodings: replace(encodings, normalized=True)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_input_changes_scores(made, mistake: str) -> None:
    name, change = MISTAKES[mistake]
    folder = folder_of(made, name)
    right = scored(folder)
    assert changed(folder, lambda encodings: encodings) == pytest.approx(right, abs=1e-6)
    assert np.abs(changed(folder, change) - right).max() > 0.3


def word(number: int) -> str:
    """A word of letters that the small tokenizers know, one for each number."""
    return "".join("acdehinorst"[int(digit)] for digit in f"{number:04}")


def counted(scorer: Any) -> Counter[tuple[int, ...]]:
    """How often each input is run from now on: rows of the engine, without the double of a lone row."""
    rows: Counter[tuple[int, ...]] = Counter()
    run = scorer.engine.run

    def counting(feeds: dict[str, Any]) -> Any:
        ids = feeds["input_ids"]
        rows.update({tuple(row) for row in ids.tolist()})
        return run(feeds)

    scorer.engine.run = counting
    return rows


@pytest.mark.parametrize("name", ["colbert", "embedding"])
def test_each_document_is_encoded_once_for_all_queries_of_a_run(made, name: str) -> None:
    scorer = open_local(settings_of(folder_of(made, name)), Report())
    rows = counted(scorer)
    texts = [f"the document {word(number)} says yes" for number in range(1000)]
    queries = [f"which is {word(number)}?" for number in range(5)]
    together = scorer.score([Pair(query, text, 0) for query in queries for text in texts], CUT)
    assert sum(rows.values()) == 1005
    again = [score for query in queries for score in scorer.score([Pair(query, text, 0) for text in texts], CUT)]
    assert sum(rows.values()) == 1005  # in later calls, as those of batch and serve, neither
    assert again == together


def test_a_full_memory_still_encodes_each_document_of_a_call_once(made) -> None:
    scorer = open_local(settings_of(folder_of(made, "colbert")), Report())
    scorer.memory = VectorMemory(10_000)
    rows = counted(scorer)
    scorer.score([Pair(query, word(number), 0) for query in ("a", "b", "c") for number in range(300)], CUT)
    assert sum(rows.values()) == 303
    assert 0 < scorer.memory.bytes <= 10_000


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 50)), max_size=60))
def test_the_memory_keeps_what_was_used_last_within_its_bytes(steps: list[tuple[int, int]]) -> None:
    memory = VectorMemory(400)
    sizes: dict[int, int] = {}  # in order of use
    for key, size in steps:
        held = memory.get(b"%d" % key)
        assert (held is not None) is (key in sizes)
        if held is None:
            memory.put(b"%d" % key, np.zeros(size, np.float32))
        sizes[key] = sizes.pop(key, size)
        while sum(sizes.values()) * 4 > 400:
            del sizes[next(iter(sizes))]
        assert memory.bytes == sum(sizes.values()) * 4


@given(st.integers(1, 6), st.integers(1, 9), st.integers(0, 1000))
def test_maxsim_is_a_sum_of_best_products(query_tokens: int, document_tokens: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    one, other = (random.normal(size=(tokens, 4)).astype(np.float32) for tokens in (query_tokens, document_tokens))
    expected = sum(max(sum(float(a) * float(b) for a, b in zip(x, y, strict=True)) for y in other) for x in one)
    assert maxsim(one, other) == pytest.approx(expected, abs=1e-4)
    assert similarity("meanmaxsim", one, other) == pytest.approx(expected / query_tokens, abs=1e-4)


@pytest.mark.parametrize("name", ["colbert", "pylate-plain", "embedding"])
def test_long_documents_are_read_in_windows_and_the_best_counts(made, name: str) -> None:
    folder = folder_of(made, name)
    scorer = open_local(settings_of(folder), Report())
    chunk = Limits(max_tokens_per_doc=1_000_000)

    def score(text: str, limits: Limits = chunk) -> Score:
        return scorer.score([Pair(QUERY, text, 0)], limits)[0]

    found = score(LONG)
    assert found.windows > 3
    assert found.best is not None
    start, end = found.best
    if name == "pylate-plain":  # of a byte-level tokenizer the first token of a window has the space before it
        start -= LONG[start - 1 : start] == " "
    assert found.value == pytest.approx(score(LONG[start:end], CUT).value, abs=1e-4)
    cut = score(LONG, CUT)
    assert (cut.windows, cut.truncated) == (1, True)
    assert found.value >= cut.value - 1e-4
    assert score(LONG, Limits(max_tokens_per_doc=10)).tokens == 10
    assert score(LONG, replace(chunk, max_chunks_per_doc=2)).windows == 2
    titled = scorer.score([Pair(QUERY, LONG, 12)], chunk)[0]
    assert titled.windows >= found.windows


def test_a_query_that_is_cut_is_counted_once(made) -> None:
    report = Report()
    scorer = open_local(settings_of(folder_of(made, "colbert")), report)
    scorer.score(PAIRS, CUT)
    scorer.score(PAIRS, CUT)
    assert report.counts["query_cut"] == 1
