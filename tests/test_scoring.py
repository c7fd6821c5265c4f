"""Local scoring: neither the batch, nor the tokenizer file, nor special tokens in a text may change a score."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from rerank_cli import models
from rerank_cli.errors import ModelError
from rerank_cli.records import Pair, Score
from rerank_cli.report import Report
from rerank_cli.scorers.batching import batches
from rerank_cli.scorers.encoding import Encoder
from rerank_cli.scorers.registry import open_now
from rerank_cli.settings import Limits, ModelSettings

QUERY = "What is the capital of the United States?"
ANSWER = "Washington, D.C. is the capital of the United States."
FILLER = "The committee met on a rainy afternoon and spoke at length about gardens, bread, trains and old furniture. "
WORDS = "river bank loan water money shore finance boat interest fish teller deposit swim flood rate vault".split()


@pytest.fixture(scope="module")
def report() -> Report:
    return Report()


@pytest.fixture(scope="module")
def scorer(report: Report):
    scorer = open_now(ModelSettings(), {}, report)
    yield scorer
    scorer.close()


def score(scorer, texts: list[str], query: str = QUERY, **limits) -> list[Score]:
    return scorer.score([Pair(query, text) for text in texts], Limits(**limits))


def some_texts(n: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    return [" ".join(chance.choices(WORDS, k=chance.randint(1, 120))) for _ in range(n)]


def test_a_score_is_bitwise_the_same_alone_and_in_any_batch(scorer) -> None:
    texts = some_texts(24, seed=1)
    together = [s.value for s in score(scorer, texts)]
    alone = [score(scorer, [text])[0].value for text in texts]
    shuffled = list(range(len(texts)))
    random.Random(2).shuffle(shuffled)
    mixed = score(scorer, [texts[i] for i in shuffled] + [FILLER * 10])
    assert alone == together
    assert [mixed[shuffled.index(i)].value for i in range(len(texts))] == together


def test_a_score_is_bitwise_the_same_with_one_thread_and_two(scorer) -> None:
    texts = some_texts(12, seed=3)
    one = open_now(ModelSettings(threads=1), {}, Report())
    assert [s.value for s in score(one, texts)] == [s.value for s in score(scorer, texts)]
    one.close()


def test_truncation_and_padding_stored_in_the_tokenizer_file_are_ignored(tmp_path: Path) -> None:
    stored = json.loads((models.BUILTIN_FOLDER / "tokenizer.json").read_bytes())
    stored["truncation"] = {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
    stored["padding"] = {
        "strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "[PAD]",
    }  # fmt: skip
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(stored))
    text = "one two three four five six seven eight nine ten eleven twelve"
    assert Encoder(path).documents([text], long=100) == Encoder(models.BUILTIN_FOLDER / "tokenizer.json").documents(
        [text], long=100
    )
    assert len(Encoder(path).documents([text], long=100)[0].ids) == 12


def test_special_tokens_in_a_document_are_text(scorer) -> None:
    encoder = Encoder(models.BUILTIN_FOLDER / "tokenizer.json")
    ids = encoder.documents(["a [SEP] b [CLS] [PAD]"], long=100)[0].ids
    assert not set(ids) & {0, 101, 102}
    assert score(scorer, ["[SEP]"])[0].tokens > 1


def test_an_empty_document_has_no_score_and_unknown_tokens_have_one(scorer) -> None:
    empty, control, unknown = score(scorer, ["", "\u200b\x00", "\U0001f9ff \U0001f9ff"])
    assert empty.value is None
    assert empty.tokens == 0
    assert control.value is None
    assert unknown.value is not None
    assert unknown.tokens == 2


def test_accents_decomposed_or_not_score_the_same(scorer) -> None:
    composed, decomposed = score(scorer, ["Café Zürich", "Cafe\u0301 Zu\u0308rich"])
    assert composed.value == decomposed.value


def test_a_query_of_600_tokens_is_cut_to_half_the_window_and_reported(scorer, report) -> None:
    query = "capital " * 600
    found = score(scorer, [ANSWER, FILLER], query=query)
    assert all(s.value is not None for s in found)
    assert found == score(scorer, [ANSWER, FILLER], query="capital " * 5000)
    assert report.counts["query_cut"] == 2


@pytest.mark.parametrize("tenth", range(10))
def test_an_answer_anywhere_in_4000_tokens_is_found_and_its_offsets_slice_the_text(scorer, tenth: int) -> None:
    sentences = [FILLER] * 190
    sentences[19 * tenth + 3] = ANSWER + " "
    text = "".join(sentences)
    (found,) = score(scorer, [text])
    assert found.tokens > 3900
    assert not found.truncated
    assert found.best is not None
    start, end = found.best
    place = text.index(ANSWER)  # the best window may begin inside the answer: windows overlap, sentences do not know
    assert start < place + len(ANSWER)
    assert end > place
    assert text[start:end] in text
    assert found.windows > 10


def test_a_window_scores_what_its_text_alone_scores(scorer) -> None:
    text = FILLER * 30 + ANSWER
    (found,) = score(scorer, [text])
    start, end = found.best
    assert score(scorer, [text[start:end]])[0].value == found.value


def test_long_documents_can_be_truncated_limited_or_refused(scorer) -> None:
    from rerank_cli.scorers.base import TooLongError

    text = FILLER * 100 + ANSWER
    whole, cut = score(scorer, [text])[0], score(scorer, [text], long_documents="truncate")[0]
    assert cut.truncated
    assert cut.windows == 1
    assert whole.value > cut.value
    limited = score(scorer, [text], max_chunks_per_doc=2)[0]
    assert limited.truncated
    assert limited.windows == 2
    assert score(scorer, [text], max_tokens_per_doc=50)[0].tokens == 50
    with pytest.raises(TooLongError) as error:
        score(scorer, ["short", text], long_documents="error")
    assert error.value.pair.text == text


def test_a_document_of_a_megabyte_is_scored_without_reading_it_all(scorer) -> None:
    text = ANSWER + FILLER * 10_000
    (found,) = score(scorer, [text])
    assert found.truncated
    assert found.tokens == 4096
    assert found == score(scorer, [text[:60_000]])[0]._replace(truncated=True)


def test_the_first_rank_field_is_repeated_in_each_window(scorer) -> None:
    head = "title: Washington, D.C. and its role as the capital\n"
    text = head + "body: " + FILLER * 60
    plain, repeated = (scorer.score([Pair(QUERY, text, h)], Limits())[0] for h in (0, len(head)))
    assert repeated.windows >= plain.windows
    assert repeated.value != plain.value


def test_padding_wastes_little_at_realistic_lengths() -> None:
    chance = random.Random(5)
    lengths = [chance.randint(5, 500) for _ in range(1000)]
    made = list(batches(lengths))
    assert sorted(i for batch in made for i in batch) == list(range(1000))
    computed = sum(len(batch) * max(lengths[i] for i in batch) for batch in made)
    assert 1 - sum(lengths) / computed <= 0.02


def test_a_tokenizer_without_a_pair_template_is_refused(tmp_path: Path) -> None:
    stored = json.loads((models.BUILTIN_FOLDER / "tokenizer.json").read_bytes())
    stored["post_processor"] = None
    (tmp_path / "tokenizer.json").write_text(json.dumps(stored))
    with pytest.raises(ModelError, match="pair template"):
        Encoder(tmp_path / "tokenizer.json").template()


def test_a_failing_engine_is_a_model_error(scorer, monkeypatch) -> None:
    """As when a tokenizer that does not fit makes ids beyond the table: exit 4, not 1."""

    def fails(_feeds):
        raise IndexError("indices element out of data bounds\nand more")

    monkeypatch.setattr(scorer.engine, "run", fails)
    with pytest.raises(ModelError, match=r"builtin failed in onnx: indices element out of data bounds$") as caught:
        score(scorer, [ANSWER])
    assert "doctor" in caught.value.hint
