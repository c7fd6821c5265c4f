"""Stages together with several queries, a token budget, highlights and a chain of models, computed by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from free_scorer import FreeScorer
from tokenizers import Tokenizer, models, pre_tokenizers

from rerank_cli.errors import ModelError
from rerank_cli.ranking import sigmoid
from rerank_cli.records import Score
from rerank_cli.scorers import registry

# A text begins with its logits for the queries `0` and `1`.
# max: a 2, b 1.5, c 1, d 0. mean: c 0.75, b 0.25, a -0.5, d -2 (0.679, 0.562, 0.378, 0.119).
# Ranks for rrf: a 1 3, b 4 1, c 2 2, d 3 4, so a .03227, c .03226, b .03202, d .03150.
FRUIT = {
    "a": ("2 -3 red apple.", {"g": "x"}),
    "b": ("-1 1.5 red cherry.", {"g": "x"}),
    "c": ("1 0.5 green pear.", {"g": "y"}),
    "d": ("0 -4 blue plum.", {"g": "y"}),
}
# p and q share 4 of 8 shingles. max: 3, 3, 1. mean: 1.5, 1.5, 1.
ALIKE = {
    "p": ("3 0 one two three four five six", {}),
    "q": ("0 3 one two three four five six", {"up": True}),
    "r": ("1 1 seven", {}),
}
CHAIN = "-m ./gone --fallback builtin"

# A word is a token. An entry of FRUIT has 6 with its number and id; one cut to a word has 4, with its ellipsis.
TABLE: list[tuple[dict[str, Any], str, str]] = [
    (FRUIT, "", "a b c d"),
    (FRUIT, "--join mean", "c b a d"),
    (FRUIT, "--join rrf", "a c b d"),
    (FRUIT, "--join rrf -n 2", "a c"),
    (FRUIT, "--join rrf -n 3 --keep-order", "a b c"),
    (FRUIT, "--join mean --cutoff auto", "c b"),
    (FRUIT, "--join mean --cutoff 50%", "c b a"),  # from 0.340
    (FRUIT, "--join mean --cutoff gap", "c b a"),  # 0.378 - 0.119
    (FRUIT, "--join max --cutoff auto", "a b c d"),  # d has 0.5
    (FRUIT, "--join mean --min-score 0.5", "c b"),
    (FRUIT, "--group-by g", "a c"),
    (FRUIT, "--join mean --group-by g", "c b"),
    (FRUIT, "--join mean --group-by g --group-size 2", "c d b a"),
    (FRUIT, "--join mean --group-by g --group-size 2 --cutoff 50%", "c b a"),
    (FRUIT, "--join rrf --group-by g", "a c"),
    (FRUIT, "--join mean --boost g=x:2", "b c a d"),  # b 0.943; a stays below 0
    (FRUIT, "--join mean --boost g=x:2.7 --boost-limit 2 --cutoff auto", "b c a"),  # b 1.243, a 0.493
    # Log-odds of the ranks: a 1.946, c 0.511, b -0.511, d -1.946.
    (FRUIT, "--join rrf --boost g=x:3", "a c b d"),  # b 0.489
    (FRUIT, "--join rrf --boost g=x:3 --boost-limit 2", "a b c d"),  # b 0.588
    (FRUIT, "--max-context-tokens 12", "a b"),
    (FRUIT, "--max-context-tokens 15", "a b"),  # number, id and ellipsis leave no room for a word
    (FRUIT, "--max-context-tokens 16", "a b c"),
    (FRUIT, "--max-context-tokens 2", ""),
    (FRUIT, "--join mean --max-context-tokens 12", "c b"),
    (FRUIT, "--join rrf --max-context-tokens 12", "a c"),
    (FRUIT, "--join rrf --max-context-tokens 18 --keep-order", "a b c"),
    (FRUIT, "--group-by g --max-context-tokens 11", "a c"),
    (FRUIT, "--group-by g --max-context-tokens 8", "a"),
    (FRUIT, "--join mean --cutoff auto --max-context-tokens 18", "c b"),
    (FRUIT, "--max-context-tokens 100 -n 1", "a"),
    (FRUIT, "--max-context-tokens 12 -n 3 --highlight", "a b"),
    (FRUIT, "--join mean --group-by g --highlight 2 --max-context-tokens 12", "c b"),
    (FRUIT, "--join mean --boost g=x:2 --cutoff auto --group-by g --highlight --max-context-tokens 6", "b"),
    (ALIKE, "--dedupe near=0.5", "p r"),
    (ALIKE, "--dedupe near=0.51", "p q r"),
    (ALIKE, "--join rrf --dedupe near=0.5", "p r"),
    (ALIKE, "--dedupe near=0.5 --boost up=true:2", "q r"),
    (ALIKE, "--max-context-tokens 15", "p q"),  # q is cut
    (ALIKE, "--dedupe near=0.5 --max-context-tokens 15 --highlight", "p r"),
    (ALIKE, "--diversity 1", "p r q"),
    (ALIKE, "--diversity 1 -n 2 --max-context-tokens 15", "p r"),
    (ALIKE, "--join mean --diversity 1 --dedupe near=0.5", "p r"),
]


class ByQuery(FreeScorer):
    """A logit of its own for each query."""

    def score(self, pairs, limits, advance=None):
        super().score(pairs, limits)
        return [Score(float(text.split()[int(query)]), 1) for query, text, _ in pairs]


@pytest.fixture
def by_query(monkeypatch) -> ByQuery:
    """The scorer of every model but those in folders, which are not there."""
    scorer, real = ByQuery(), registry.open_scorer

    def opened(settings, *more):
        if settings.fallback:
            return real(settings, *more)
        if settings.model.startswith("./"):
            raise ModelError("no model folder")
        return scorer

    monkeypatch.setattr(registry, "open_scorer", opened)
    return scorer


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> str:
    """A tokenizer whose tokens are words."""
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(path))
    return str(path)


def lines(documents: dict[str, Any]) -> str:
    return "".join(json.dumps({"id": name, "text": text, **more}) + "\n" for name, (text, more) in documents.items())


@pytest.mark.parametrize("chain", ["", CHAIN], ids=["alone", "fallback"])
@pytest.mark.parametrize(("documents", "options", "expected"), TABLE, ids=[f"{row[1]} = {row[2]}" for row in TABLE])
def test_the_order_is_as_computed_by_hand(run, by_query, words, chain, documents, options, expected) -> None:
    argv = [*options.split(), *(["--tokenizer", words] if "tokens" in options else []), *chain.split()]
    result = run("-q", "0", "-q", "1", *argv, "-f", "ids", stdin=lines(documents))
    assert (result.code, result.text.split()) == (0, expected.split()), result.err
    assert ("./gone" in result.err) == bool(chain)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--min-score builtin=0.5 --join mean", "c b"),
        ("--min-score ./gone=0.9,builtin=0.5 --join mean --group-by g --group-size 2", "c b"),
        ("--min-score ./gone=0.9 --join mean --cutoff auto --highlight", "c b"),
        ("--min-score default=0.3 --join mean --boost g=x:2", "b c a"),
        ("--min-score default=0.3,builtin=0.6 --join mean --highlight 2", "c"),
    ],
)
def test_thresholds_of_a_chain_and_stages(run, by_query, options, expected) -> None:
    result = run("-q", "0", "-q", "1", *CHAIN.split(), *options.split(), "-f", "ids", stdin=lines(FRUIT))
    assert (result.code, result.text.split()) == (0, expected.split()), result.err


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--join rrf", "a b c d"),
        ("--join mean --group-by g --highlight 2", "a c"),
        ("--join mean --cutoff auto --boost g=x:2 --max-context-tokens 16", "a b c"),
        ("--min-score 0.9 --diversity 1 --max-context-tokens 12 --highlight", "a b"),
    ],
)
def test_without_a_model_queries_and_budget_keep_the_order(run, by_query, words, options, expected) -> None:
    argv = [*options.split(), *(["--tokenizer", words] if "tokens" in options else [])]
    chain = ("-m", "./gone", "--fallback", "passthrough")
    result = run("-q", "0", "-q", "1", *chain, *argv, "-f", "ids", stdin=lines(FRUIT))
    assert (result.code, result.text.split()) == (0, expected.split()), result.err


@pytest.mark.parametrize("chain", ["", CHAIN], ids=["alone", "fallback"])
@pytest.mark.parametrize(
    ("join", "expected"),
    [("max", [(11, 21, 4), (0, 10, 2)]), ("mean", [(0, 10, 2), (11, 21, 1.5)]), ("rrf", [(11, 21, 4), (0, 10, 2)])],
)
def test_sentences_are_scored_for_each_query_and_joined_as_documents_are(run, by_query, chain, join, expected) -> None:
    argv = ("--highlight", "2", "--join", join, "-f", "jsonl", *chain.split())
    result = run("-q", "0", "-q", "1", *argv, stdin="2 2 green. -1 4 blue.\n2 2 green.\n")
    first, second = (record["highlights"] for record in result.records)
    assert [(one["start"], one["end"]) for one in first] == [(start, end) for start, end, _ in expected]
    assert [one["score"] for one in first] == pytest.approx([sigmoid(score) for *_, score in expected])
    assert second == [{"start": 0, "end": 10, "score": pytest.approx(sigmoid(2))}]
    assert by_query.seen == 2 * 2 + 2 * 2, "each pair once: two texts, then two sentences"
