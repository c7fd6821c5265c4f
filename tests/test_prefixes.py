"""The first tokens of a long text are those of the whole text, at a cost that the wanted tokens bound."""

from __future__ import annotations

import json
import random
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_tokenizers import byte_bpe, t5, unigram, wordpiece
from tokenizers import AddedToken, Tokenizer, pre_tokenizers
from tokenizers import models as library

from rerank_cli import models
from rerank_cli.errors import InputError, ModelError, library_errors
from rerank_cli.records import Pair
from rerank_cli.report import Report
from rerank_cli.scorers import prefixes
from rerank_cli.scorers.base import DocumentError
from rerank_cli.scorers.encoding import Encoder, TokenizerError
from rerank_cli.scorers.local import LocalScorer
from rerank_cli.scorers.prefixes import TooMuchTextError, tokens_of
from rerank_cli.scorers.registry import open_now
from rerank_cli.settings import Limits, ModelSettings

TOKENIZERS = {
    "wordpiece": wordpiece,
    "xlm": unigram,
    "deberta": lambda: unigram(64, xlm=False),
    "t5": t5,
    "modernbert": byte_bpe,
    "qwen": lambda: byte_bpe(384, qwen=True),
}
PIECES = [
    "a", "aa", "ab", "b", "capital", "Washington", "yes", "no", "don't", "'s", "1234", ".", "...", "_", "-", "/", "+", " ", "  ",
    "\n", "\t", "\u00a0", "\u200b", "\x00", "é", "e\u0301", "\u0300", "北京", "ﷺ", "क्षि", "ไทย", "🧿", "[SEP]", "<think>", "</s>",
    "a" * 150, "A1" * 80, " " * 160, "\n" * 140, "x" * 1000,
]  # fmt: skip


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Encoder]:
    """Every kind of tokenizer, and the embedded model's."""
    folder = tmp_path_factory.mktemp("tokenizers")
    found = {"builtin": Encoder(models.BUILTIN_FOLDER / "tokenizer.json")}
    for name, build in TOKENIZERS.items():
        build().backend_tokenizer.save(str(folder / f"{name}.json"))
        found[name] = Encoder(folder / f"{name}.json", t5=name == "t5")
    return found


@pytest.fixture
def short_beginnings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beginnings as short as the texts of this test ask for."""
    monkeypatch.setattr(prefixes, "LEAST", 200)


def texts() -> st.SearchStrategy[str]:
    piece = st.sampled_from(PIECES)
    mixed = st.lists(piece, min_size=1, max_size=400).map("".join)
    repeated = st.tuples(st.lists(piece, min_size=1, max_size=4).map("".join), st.integers(1, 1500)).map(
        lambda x: x[0] * x[1]
    )
    letters = st.sampled_from(["ab", "a", "aA0", "é北", "yeson", "capitl s"])
    word = letters.flatmap(lambda few: st.integers(0, 2**32).map(lambda seed: letters_of(few, seed)))
    return st.lists(mixed | repeated | word, min_size=1, max_size=3).map(lambda parts: "".join(parts)[:6000])


def letters_of(few: str, seed: int) -> str:
    chance = random.Random(seed)
    return "".join(chance.choices(few, k=chance.randint(1, 5000)))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=texts(), most=st.sampled_from([1, 3, 8, 20, 60]))
@pytest.mark.usefixtures("short_beginnings")
def test_the_first_tokens_are_those_of_the_whole_text(encoders: dict[str, Encoder], text: str, most: int) -> None:
    for name, encoder in encoders.items():
        whole = tokens_of(encoder._encode(text))
        found = encoder.first(text, most)
        count = len(found.ids)
        assert count == len(whole.ids) or count >= most, name
        assert found.ids == whole.ids[:count], name
        assert found.offsets == whole.offsets[:count], name
        assert found.word_starts == whole.word_starts[:count], name


@pytest.mark.parametrize("unit", ["a", "a ", "é\u200b", "a\u200b\u0300", "\u0300", "ab", "x" * 300 + " "])
@pytest.mark.usefixtures("short_beginnings")
def test_words_that_turn_unknown_by_their_length(encoders: dict[str, Encoder], unit: str) -> None:
    for name, encoder in encoders.items():
        for length in (2000, 2001, 2002, 2003):
            text = (unit * 3000)[:length] + " capital"
            whole, found = tokens_of(encoder._encode(text)), encoder.first(text, 8)
            count = len(found.ids)
            assert (found.ids, found.offsets) == (whole.ids[:count], whole.offsets[:count]), (name, length)


PERIODS = [("<unk>", 0.0), ("▁", -1.0), ("▁abbb", -1.0), ("abbbbb", -0.5), ("bbabbb", -0.5), ("b", -20.0)]
PERIODS += [("a", -1.0), ("ab", -1.0), ("abb", -1.0), ("abbbb", -1.0)]


def unigram_of_periods() -> Tokenizer:
    """Only 6k + 4 letters begin with `▁abbb`: beginnings of all other lengths agree on another start."""
    built = Tokenizer(library.Unigram(PERIODS, unk_id=0))
    built.pre_tokenizer = pre_tokenizers.Metaspace()
    return built


@pytest.mark.parametrize("added", [True, False])
@pytest.mark.parametrize("build", [byte_bpe, unigram, wordpiece])
@pytest.mark.usefixtures("short_beginnings")
def test_a_long_added_token_is_not_cut(tmp_path: Path, build, added: bool) -> None:
    built = build().backend_tokenizer
    built.add_tokens([AddedToken("ab" * 120, normalized=added)])
    built.save(str(tmp_path / "t.json"))
    encoder = Encoder(tmp_path / "t.json")
    for before in range(0, 260, 13):
        text = "a capital b " * (before // 12) + "b" * (before % 12) + "ab" * 900
        whole = encoder.ids(text)
        for most in (1, 3, 8):
            found = encoder.first(text, most).ids
            assert found == whole[: len(found)]
            assert len(found) >= min(most, len(whole))


@pytest.mark.parametrize("size", range(200, 206))
def test_periods_of_a_vocabulary_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """One beginning for each remainder, or a start that only one remainder changes is missed."""
    monkeypatch.setattr(prefixes, "LEAST", size)
    unigram_of_periods().save(str(tmp_path / "t.json"))
    encoder = Encoder(tmp_path / "t.json")
    for length in range(2000, 2006):
        text = ("abbbbb" * 400)[:length]
        whole, found = encoder.ids(text), encoder.first(text, 8).ids
        assert found == whole[: len(found)], length


@pytest.fixture(scope="module")
def scorer() -> Iterator[LocalScorer]:
    opened = open_now(ModelSettings(threads=1), {}, Report())
    assert isinstance(opened, LocalScorer)
    yield opened
    opened.close()


@pytest.mark.parametrize("how", ["truncate", "chunk"])
def test_scores_windows_and_counts_are_those_of_the_whole_text(scorer: LocalScorer, how: str, monkeypatch) -> None:
    long = [
        "The capital of Nevada is Carson City, a town. " * 400,
        "QWxhZGRpbjpvcGVuIHNlc2FtZQ+/" * 600,
        "a" * 20_000 + " capital " * 900,
    ]
    pairs = [Pair("capital", text, 8) for text in long]
    limits = Limits(max_tokens_per_doc=600, long_documents=how)
    found = scorer.score(pairs, limits)
    monkeypatch.setattr("rerank_cli.scorers.encoding.WHOLE", 10**6)  # everything is tokenised whole
    assert found == scorer.score(pairs, limits)


def encoded_chars(encoder: Encoder, text: str, most: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Characters that were given to the tokenizer for the first tokens of a text."""
    lengths = []
    encode = encoder._encode
    monkeypatch.setattr(encoder, "_encode", lambda part: lengths.append(len(part)) or encode(part))
    encoder.first(text, most)
    return sum(lengths)


@pytest.mark.parametrize(
    "text",
    ["a" * 5_000_000, "A1b" * 1_000_000, " " * 3_000_000 + "x", ("b" * 20_000 + " ") * 1500, "the capital " * 200_000],
)
def test_the_work_is_bounded_by_the_tokens_that_are_wanted(encoders, text: str, monkeypatch) -> None:
    assert encoded_chars(encoders["builtin"], text, 1000, monkeypatch) < 800_000


@pytest.mark.parametrize("name", ["builtin", "xlm", "modernbert", "qwen"])
def test_base64_is_cut_with_every_tokenizer(encoders, name: str, monkeypatch) -> None:
    text = "".join(random.Random(1).choices("ABCDabcd0123+/", k=2_000_000))
    assert encoded_chars(encoders[name], text, 1000, monkeypatch) < 200_000


def test_a_text_that_would_cost_too_much_is_refused_by_name(scorer: LocalScorer, run, tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="has no 10 tokens in its first 550,000 characters") as caught:
        scorer.score([Pair("q", "short"), Pair("q", "é" * 600_000)], Limits(max_tokens_per_doc=10))
    assert caught.value.pair.text[0] == "é"
    (tmp_path / "bad.jsonl").write_text(json.dumps({"id": "bad", "text": "é" * 600_000}) + "\n")
    result = run("rank", "-q", "q", str(tmp_path / "bad.jsonl"), "--max-tokens-per-doc", "10")
    assert result.code == 3
    assert "bad" in result.err
    assert "Traceback" not in result.err


def test_two_hundred_megabytes_without_a_space(encoders) -> None:
    """As much time and memory as words: a second or two on any machine, where tokenising it all took minutes."""
    text = "a" * 200_000_000
    tracemalloc.start()
    start = time.perf_counter()
    found = encoders["builtin"].first(text, 4105)
    seconds = time.perf_counter() - start
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.offsets == [(0, len(text))]
    assert peak < 20_000_000
    assert seconds < 30


# --- A tokenizer that panics.


def panicking(tmp_path: Path, **parts) -> Path:
    """A tokenizer file that reads well; with pieces of length 0 every text makes the library panic."""
    stored = json.loads((models.BUILTIN_FOLDER / "tokenizer.json").read_bytes())
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(stored | parts))
    return path


PANIC = {"pre_tokenizer": {"type": "FixedLength", "length": 0}}
NO_UNKNOWN = {"model": {"type": "Unigram", "unk_id": None, "vocab": [["a", 0.0], ["b", -1.0]], "byte_fallback": False},
              "pre_tokenizer": None, "added_tokens": [], "post_processor": None}  # fmt: skip


def test_a_panic_is_an_error_of_the_model(tmp_path: Path) -> None:
    encoder = Encoder(panicking(tmp_path, **PANIC))
    for use in (
        lambda: encoder.ids("a"),
        lambda: encoder.query("a"),
        lambda: encoder.documents(["a"], 10),
        encoder.template,
    ):
        with pytest.raises(ModelError, match="chunk size must be non-zero"):
            use()


def test_only_the_text_that_the_tokenizer_fails_on_is_named(tmp_path: Path) -> None:
    encoder = Encoder(panicking(tmp_path, **NO_UNKNOWN))
    assert [len(tokens.ids) for tokens in encoder.documents(["ab", "ba"], 10)] == [2, 2]
    with pytest.raises(TokenizerError, match="unknown token") as caught:
        encoder.documents(["ab", "xyz", "ba"], 10)
    assert caught.value.text == "xyz"


class Panic(BaseException):
    """As the library in Rust raises it."""


Panic.__name__ = "PanicException"


def test_a_panic_fails_its_row_and_not_the_others(scorer: LocalScorer, run, tmp_path: Path, monkeypatch) -> None:
    batch = type(scorer.encoder)._batch
    single = type(scorer.encoder)._encode

    def encode(self, text: str):
        with library_errors(lambda reason: TokenizerError(text, reason)):
            if "panic" in text:
                raise Panic("index out of bounds")
        return single(self, text)

    def encode_all(self, texts, *, offsets: bool):
        return (
            [encode(self, text) for text in texts]
            if any("panic" in text for text in texts)
            else batch(self, texts, offsets=offsets)
        )

    monkeypatch.setattr(Encoder, "_encode", encode)
    monkeypatch.setattr(Encoder, "_batch", encode_all)
    rows = [{"query": "q", "documents": ["a", text]} for text in ("b", "panic", "c")] + [
        {"query": "panic", "documents": ["a"]}
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = run("batch", str(tmp_path / "rows.jsonl"), "-o", str(tmp_path / "out.jsonl"))
    assert result.code == 6, result.err
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 2
    assert "index out of bounds" in result.err
    with pytest.raises(InputError, match="failed on it"):
        scorer.score([Pair("q", "a"), Pair("q", "panic")], Limits())


def test_ctrl_c_passes() -> None:
    with pytest.raises(KeyboardInterrupt), library_errors(ModelError):
        raise KeyboardInterrupt
    with pytest.raises(ModelError), library_errors(ModelError):
        raise Panic
    assert issubclass(TooMuchTextError, Exception)
