"""The stages after scoring: one table of combinations with results computed by hand, and what each stage reports."""

from __future__ import annotations

import json
from typing import Any

import pytest
from serve.harness import serving

from rerank_cli import Reranker

# id: logit, further words, fields. FreeScorer's logit is the number at the start of a text.
MIXED = {
    "a": (2.0, "alpha", {"date": "2024-01-01", "lang": "en", "stars": 10, "g": "x"}),
    "b": (1.5, "beta", {"date": "2024-01-31", "lang": "de", "stars": "30", "g": "x"}),
    "c": (0.2, "gamma", {"date": "2023-01-01T00:00:00Z", "lang": ["en", "fr"], "stars": 20, "g": "y"}),
    "d": (-0.2, "delta", {"date": 1706659200, "lang": "en", "g": "x"}),  # 2024-01-31
    "e": (-3.0, "epsilon", {"lang": "de", "stars": 40}),
}
FOX = "the quick brown fox jumps over the lazy dog"
NEAR = {"n1": (2.0, FOX, {}), "n2": (1.0, FOX, {"up": True}), "n3": (0.0, "something else entirely", {})}
WEAK = {"w1": (-1.0, "", {}), "w2": (-2.0, "", {}), "w3": (-5.0, "", {})}
FLAT = {"f1": (1.0, "", {}), "f2": (1.0, "x", {}), "f3": (1.0, "y", {})}
ONE = {"o": (-5.0, "", {})}
CHUNKS = {"h1": (3.0, "", {"g": "x"}), "h2": (2.0, "", {"g": "y"}), "h3": (1.0, "", {"g": "x"}), "h4": (0.5, "", {})}
ALIKE = {"m1": (3, "red apple", {}), "m2": (2, "red apple", {}), "m3": (0, "green pear", {})}
# The retriever's order is the model's, so that fusion keeps it: log-odds of the ranks are ln 5, 0 and -ln 5.
PRIOR = {"p1": (3.0, "", {"s": 3}), "p2": (2.0, "", {"s": 2}), "p3": (1.0, "", {"s": 1, "up": True})}

TABLE: list[tuple[dict[str, Any], str, str]] = [
    # Boosts. Half a life makes no difference; b and d are the newest, c is very old, e has no date.
    (MIXED, "", "a b c d e"),
    (MIXED, "--recency date", "b a c d e"),  # b 2.5, a 2.0; c and d stay on their sides of 0
    (MIXED, "--recency date --boost-limit 1", "b a d c e"),  # d 0.8, c -0.8
    (MIXED, "--recency date --boost-limit 0", "a b c d e"),
    (MIXED, "--recency date --weight 0.2", "a b c d e"),  # b 1.7
    (MIXED, "--recency date --half-life 1y", "a b c d e"),  # a 2.89, b 2.5
    (MIXED, "--recency date --half-life 1s", "b a c d e"),  # a 1.0, b 2.5
    (MIXED, "--recency nowhere", "a b c d e"),
    (MIXED, "--boost lang=de:2", "b a c d e"),  # b 2.19
    (MIXED, "--boost lang=de:1.5", "a b c d e"),  # b 1.91
    (MIXED, "--boost lang=de:0.1", "a b c d e"),  # b 0.5: at most 1 is taken
    (MIXED, "--boost lang=de:0.1 --boost-limit 3", "a c d b e"),  # b -0.8
    (MIXED, "--boost lang=de:1000 --boost-limit 10", "b e a c d"),  # e 3.9, b 8.4
    (MIXED, "--boost lang=fr:1e9", "a b c d e"),  # c 1.2
    (MIXED, "--boost lang=en:2 --boost lang=de:2", "a b c d e"),
    (MIXED, "--boost stars=20:3 --boost lang=fr:1.2", "a b c d e"),  # c 0.2 + 1
    (MIXED, "--boost-field stars", "b a c d e"),  # a 1.0, b 1.83
    (MIXED, "--boost-field stars --weight 0.1", "a b c d e"),
    (MIXED, "--recency date --boost-field stars", "b a c d e"),  # a 1.0, b 2.5
    (MIXED, "--recency date --boost lang=en:2.5", "a b c d e"),  # a 2.92, b 2.5
    # Where the order is fused there are no log-odds but those of the ranks.
    (PRIOR, "--prior-field s --boost up=true:100", "p1 p2 p3"),  # -1.61 + 1
    (PRIOR, "--prior-field s --boost up=true:100 --boost-limit 2", "p1 p3 p2"),  # -1.61 + 2
    (PRIOR, "--prior-field s --boost up=true:100 --boost-limit 4", "p3 p1 p2"),  # -1.61 + 4
    # Near duplicates: 8 of 10 shingles are common, because the logit is a word too.
    (NEAR, "--dedupe", "n1 n2 n3"),
    (NEAR, "--dedupe near", "n1 n2 n3"),
    (NEAR, "--dedupe near=0.81", "n1 n2 n3"),
    (NEAR, "--dedupe near=0.8", "n1 n3"),
    (NEAR, "--dedupe near=0.8 --boost up=true:9 --boost-limit 2", "n2 n3"),  # the best one stays: n2 3.0
    (NEAR, "--dedupe near=0.8 -n 2", "n1 n3"),
    # Cut-off: 0.881, 0.818, 0.550, 0.450, 0.047.
    (MIXED, "--cutoff auto", "a b c"),
    (MIXED, "--cutoff gap", "a b c d"),
    (MIXED, "--cutoff gap -n 3", "a b"),
    (MIXED, "--cutoff 50%", "a b c d"),
    (MIXED, "--cutoff 60%", "a b c"),
    (MIXED, "--cutoff 100%", "a"),
    (MIXED, "--cutoff auto --raw-scores", "a b c"),
    (MIXED, "--cutoff auto -n 1", "a"),
    (MIXED, "--cutoff auto --recency date --boost-limit 1", "b a d"),
    (WEAK, "--cutoff auto", "w1"),  # at least one
    (WEAK, "--cutoff gap", "w1 w2 w3"),  # no drop of 0.2
    (WEAK, "--cutoff 50%", "w1"),  # 0.269, 0.119
    (FLAT, "--cutoff gap", "f1 f2 f3"),
    (FLAT, "--cutoff auto", "f1 f2 f3"),
    (FLAT, "--cutoff 100%", "f1 f2 f3"),
    (ONE, "--cutoff auto", "o"),
    (ONE, "--cutoff gap", "o"),
    # Groups.
    (MIXED, "--group-by g", "a c e"),
    (MIXED, "--group-by g --group-size 2", "a b c e"),
    (MIXED, "--group-by g --group-size 3", "a b d c e"),
    (CHUNKS, "--group-by g --group-size 2", "h1 h3 h2 h4"),
    (CHUNKS, "--group-by g --group-size 2 -n 2", "h1 h3"),
    (CHUNKS, "--group-by nowhere", "h1 h2 h3 h4"),
    (CHUNKS, "--group-by g --cutoff 90%", "h1 h2"),  # 0.953, 0.881; h3 0.731 is cut before its group is formed
    # Diversity: m2 is like m1, with a cosine of 0.214; (1 - 0.9) * 0.881 - 0.9 * 0.214 is less than 0.05 of m3.
    (ALIKE, "--diversity 0.9", "m1 m3 m2"),
    (ALIKE, "--diversity 0.3", "m1 m2 m3"),
    (ALIKE, "--diversity 0", "m1 m2 m3"),
    (ALIKE, "--diversity 0.9 -n 2", "m1 m3"),
    (ALIKE, "--diversity 0.9 --cutoff 90%", "m1 m2"),  # 0.953, 0.881; m3 is cut before
    # Together with what was there before.
    (MIXED, "--recency date -n 2", "b a"),
    (MIXED, "--recency date -n 2 --keep-order", "a b"),
    (MIXED, "--recency date --min-score 0.6", "b a"),  # of the model's score: d would have 0.5
    (MIXED, "--group-by g --min-score 0.5 --keep-order", "a c"),
]


def lines(documents: dict[str, Any]) -> str:
    rows = [
        {"id": name, "text": f"{logit} {words}".strip(), **more} for name, (logit, words, more) in documents.items()
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(("documents", "options", "expected"), TABLE, ids=[f"{row[1]} = {row[2]}" for row in TABLE])
def test_the_order_is_as_computed_by_hand(run, free, documents, options, expected) -> None:
    result = run("-q", "x", *options.split(), "-f", "ids", stdin=lines(documents))
    assert (result.code, result.text.split()) == (0, expected.split()), result.err


@pytest.mark.parametrize(
    ("documents", "options", "expected"),
    [
        (MIXED, "", "a b c d e"),
        (MIXED, "--recency date --cutoff auto --diversity 0.5", "a b c d e"),  # stages that need scores
        (MIXED, "--group-by g", "a c e"),
        (MIXED, "--group-by g -n 2 --recency date", "a c"),
        (NEAR, "--dedupe near=0.8", "n1 n3"),
        (CHUNKS, "--group-by g --group-size 2", "h1 h3 h2 h4"),
        (CHUNKS, "--group-by g --max-context-tokens 1000", "h1 h2 h4"),
        (MIXED, "--highlight -n 2", "a b"),
        (MIXED, "--min-score 0.9", "a b c d e"),
    ],
)
def test_without_any_model_the_stages_that_need_no_score_run(run, documents, options, expected) -> None:
    chain = ("-m", "./no-model", "--fallback", "passthrough")
    result = run("-q", "x", *chain, *options.split(), "-f", "ids", stdin=lines(documents))
    assert (result.code, result.text.split()) == (0, expected.split()), result.err


@pytest.mark.parametrize("further", ["-q y --join max", "-q y --join mean", "--highlight", "--max-context-tokens 1000"])
@pytest.mark.parametrize(
    ("options", "expected"),
    [("--recency date", "b a c d e"), ("--group-by g --cutoff 50%", "a c"), ("--boost lang=de:2 -n 2", "b a")],
)
def test_queries_highlights_and_a_budget_change_no_order(run, free, options, further, expected) -> None:
    """The scorer gives every query the same scores, and all documents fit."""
    result = run("-q", "x", *options.split(), *further.split(), "-f", "ids", stdin=lines(MIXED))
    assert (result.code, result.text.split()) == (0, expected.split()), result.err


@pytest.mark.parametrize("front", ["json", "batch", "python", "serve"])
@pytest.mark.parametrize(
    ("documents", "stages", "expected"),
    [
        (MIXED, {"recency": "date"}, "b a c d e"),
        (MIXED, {"recency": "date", "half_life": "1y"}, "a b c d e"),
        (MIXED, {"boost": ["lang=de:0.1"], "boost_limit": 3}, "a c d b e"),
        (MIXED, {"boost_field": "stars", "weight": 0.1}, "a b c d e"),
        (NEAR, {"dedupe": "near=0.8"}, "n1 n3"),
        (MIXED, {"cutoff": "auto"}, "a b c"),
        (CHUNKS, {"group_by": "g", "group_size": 2}, "h1 h3 h2 h4"),
        (ALIKE, {"diversity": 0.9}, "m1 m3 m2"),
    ],
)
def test_requests_and_python_have_the_same_members(run, free, monkeypatch, front, documents, stages, expected) -> None:
    rows = [json.loads(line) for line in lines(documents).splitlines()]
    if front == "serve":
        with serving(scorer=lambda: free) as server:
            answer = server.post("/v2/rerank", query="x", documents=rows, return_documents=True, **stages)
        found = [row["document"]["id"] for row in answer.json["results"]]
        assert [stage["stage"] for stage in answer.json["meta"]["stages"]]
    elif front == "python":
        monkeypatch.setattr("rerank_cli.api.open_now", lambda *_: free)
        with Reranker() as reranker:
            found = [hit.document["id"] for hit in reranker.rank("x", rows, **stages).hits]
    else:
        request = json.dumps({"query": "x", "documents": rows, **stages})
        result = run(*(["batch"] if front == "batch" else []), *(["--json"] if front == "json" else []), stdin=request)
        assert result.code == 0, result.err
        found = [row["document"]["id"] for row in result.json["results"]]
    assert found == expected.split()


def test_what_stages_did_is_in_meta_and_in_explanations(run, free) -> None:
    argv = ("--recency", "date", "--dedupe", "near=0.5", "--cutoff", "gap", "--group-by", "g", "--json", "--explain")
    result = run("-q", "x", *argv, stdin=lines(MIXED)).json
    boosts, near, cutoff, grouping = result["meta"]["stages"]
    assert boosts == {"stage": "boosts", "documents": 5, "kept": 5, "moved": 2}
    assert near == {"stage": "near_duplicates", "documents": 5, "kept": 5, "moved": 0}
    assert [row["id"] for row in cutoff["removed"]] == ["e"]
    assert grouping["removed"] == [{"index": 0, "id": "a", "group": "x"}, {"index": 3, "id": "d", "group": "x"}]
    best = result["results"][0]
    assert best["document"]["id"] == "b"
    assert best["relevance_score"] == pytest.approx(0.8175744761936437)
    assert best["final_score"] == pytest.approx(0.9241418199787566)  # of 2.5
    assert best["explain"]["stages"] == [{"stage": "boosts", "log_odds": 1.0}]
    assert result["meta"]["warnings"] == ["1 of 5 documents has no date in `date` and is neither raised nor lowered"]


def test_scores_of_other_formats_have_the_final_score(run, free) -> None:
    assert run("-q", "x", "--recency", "date", "-f", "csv", stdin=lines(MIXED)).lines[0].endswith("final_score")
    table = run("-q", "x", "--recency", "date", "-f", "table", stdin=lines(MIXED)).text
    assert table.splitlines()[0].split()[:4] == ["#", "score", "final", "id"]
    trec = run("-q", "x", "--recency", "date", "-f", "trec", stdin=lines(MIXED)).lines
    assert [line.split()[2] for line in trec] == ["b", "a", "c", "d", "e"]
    assert float(trec[0].split()[4]) == pytest.approx(0.9241418)
    assert "final_score" not in run("-q", "x", "--json", stdin=lines(MIXED)).text


def test_empty_documents_stay_last_whatever_the_stages(run, free) -> None:
    rows = '{"id":"empty","text":"","date":"2024-01-31"}\n' + lines(MIXED)
    argv = ("--recency", "date", "--diversity", "0.5", "--group-by", "g", "--dedupe", "near", "-f", "ids")
    assert run("-q", "x", *argv, stdin=rows).text.split()[-1] == "empty"
    blank = '{"id":"1","text":""}\n{"id":"2","text":" "}\n'
    assert run("-q", "x", "--cutoff", "auto", "-f", "ids", stdin=blank).text.split() == ["1"]


WRONG = {
    "--boost x:2": "--boost: `x:2` is not a field, a value and a factor",
    "--boost x=y:0": "--boost: `x=y:0` is not",
    "--boost x=y:nan": "--boost: `x=y:nan` is not",
    "--half-life 30d": "--half-life needs --recency",
    "--recency d --half-life 30": "--half-life: `30` is not a time",
    "--recency d --half-life 0d": "--half-life: `0d` is not a time",
    "--boost-limit 1": "--boost-limit needs a boost",
    "--boost-limit -1 --recency d": "--boost-limit: `-1` is too small",
    "--dedupe near=2": "--dedupe: `near=2` is not",
    "--dedupe near=0": "--dedupe: `near=0` is not",
    "--dedupe near=x": "--dedupe: `near=x` is not",
    "--dedupe near=": "--dedupe: `near=` is not",
    "--boost lang=en:-2": "--boost: `lang=en:-2` is not",
    "--boost lang=en:1_0": "--boost: `lang=en:1_0` is not",
    "--dedupe exact=1": "--dedupe: `exact=1` is not",
    "--cutoff 0%": "--cutoff: `0%` is not a cut-off",
    "--cutoff 101%": "--cutoff: `101%` is not a cut-off",
    "--cutoff best": "--cutoff: `best` is not a cut-off",
    "--cutoff auto --prior-field s": "--cutoff needs probabilities, and fused scores have no end of relevance",
    "--group-size 2": "--group-size needs --group-by",
    "--diversity 1.5": "--diversity: `1.5` is too large",
    "--weight 2": "--weight belongs to --fusion or a boost",
}


@pytest.mark.parametrize("options", WRONG)
def test_wrong_settings_are_refused_before_anything_is_scored(run, free, options) -> None:
    refused = run("-q", "x", *options.split(), stdin=lines(PRIOR))
    assert (refused.code, refused.out, free.seen) == (2, b"", 0)
    assert WRONG[options] in refused.err
    assert "hint: " in refused.err


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        ("cutoff", "best", "`cutoff`: `best` is not a cut-off"),
        ("boost", [1], "`boost` must be"),
        ("group_size", 0, "`group_size` must be"),
        ("diversity", "much", "`diversity` must be a number"),
        ("half_life", "30d", "`half_life` needs `recency`"),
    ],
)
def test_wrong_members_of_requests_are_refused_in_their_own_words(run, free, member, value, message) -> None:
    refused = run(stdin=json.dumps({"query": "x", "documents": ["1 a"], member: value}))
    assert refused.code == 3
    assert message in refused.err


def test_dedupe_takes_a_word_as_its_value_only_if_it_is_one(run, free, tmp_path) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_text('{"id":"1","text":"1 a"}\n{"id":"2","text":"1 a"}\n')
    assert run("-q", "x", "--dedupe", str(path), "-f", "ids").text.split() == ["1"]
    assert run("-q", "x", "--dedupe", "exact", str(path), "-f", "ids").text.split() == ["1"]
    assert run("-q", "x", "--dedupe=near", str(path), "-f", "ids").text.split() == ["1"]
    assert run("-q", "x", str(path), "-f", "ids", "--dedupe").text.split() == ["1"]
    for value, ids in (("true", ["1"]), ("false", ["1", "2"]), ("near", ["1"])):
        assert run("-q", "x", str(path), "-f", "ids", env={"RERANK_DEDUPE": value}).text.split() == ids


def test_the_explained_table_says_what_the_stages_did(run, free) -> None:
    argv = ("--boost", "lang=en:9", "--group-by", "g", "--diversity", "0.5", "--explain", "-f", "table")
    table = run("-q", "x", *argv, stdin=lines(MIXED), columns=120).text
    assert "boosts: log odds 1, asked 2.197 · diversity: similarity 0\n" in table
    cut = run("-q", "x", "--max-context-tokens", "9", "--explain", "-f", "table", stdin=lines(MIXED), columns=120).text
    assert "budget: tokens 9, truncated\n" in cut
    assert "budget" not in run("-q", "x", "--explain", "-f", "table", stdin=lines(MIXED), columns=120).text
