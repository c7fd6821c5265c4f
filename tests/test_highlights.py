"""Highlights: the best sentences of each document, everywhere that a ranking is shown, and what they cost."""

from __future__ import annotations

import json

import pytest
from free_scorer import value_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from remote.loopback import Loopback, as_json, cohere
from serve.harness import serving

from rerank_cli import Reranker
from rerank_cli.ranking import sigmoid
from rerank_cli.sentences import sentences

CLEAR = [
    ("What is the capital of France?", "Paris is the capital of France.", "It was founded long ago. {} Its river is the Seine."),
    ("How many legs does a spider have?", "A spider has eight legs.", "Spiders are found everywhere. Their silk is strong. {} They eat flies."),
    ("Who wrote Hamlet?", "Hamlet was written by William Shakespeare.", "The play is long. {} It was first printed in 1603."),
    ("What does HTTP 429 mean?", "HTTP status 429 means that a client sent too many requests.", "Errors are documented below. Contact us by mail. {} Our offices are in Oslo."),
]  # fmt: skip
LINES = "1 first. 9 second. 4 third.\n5 other.\n"
TWO = ["--highlight", "2", "-q", "q"]


@pytest.mark.parametrize(("query", "answer", "around"), CLEAR)
def test_the_sentence_that_answers_is_the_best(run, query: str, answer: str, around: str) -> None:
    found = json.loads(run("-q", query, "--highlight", "--json", stdin=around.format(answer)).out)
    (result,) = found["results"]
    (best,) = result["highlights"]
    assert result["document"][best["start"] : best["end"]] == answer
    assert found["meta"]["stages"][-1]["stage"] == "highlights"


def test_the_n_best_come_first_with_scores_of_the_same_scale(run, free) -> None:
    results = json.loads(run(*TWO, "--json", stdin=LINES).out)["results"]
    assert [result["index"] for result in results] == [1, 0]
    assert results[0]["highlights"] == [{"start": 0, "end": 8, "score": sigmoid(5.0)}]
    spans = [(one["start"], one["end"], one["score"]) for one in results[1]["highlights"]]
    assert spans == [(9, 18, sigmoid(9.0)), (19, 27, sigmoid(4.0))]
    raw = json.loads(run(*TWO, "--json", "--raw-scores", stdin=LINES).out)["results"]
    assert [one["score"] for one in raw[1]["highlights"]] == [9.0, 4.0]
    assert free.calls == 4, "one further call each"


def test_only_shown_documents_are_read_again(run, free) -> None:
    assert len(run(*TWO, "-n", "1", "-f", "jsonl", stdin=LINES).out.splitlines()) == 1
    assert free.seen == 3, "two documents and the one sentence of the best"


def test_the_table_and_markdown_show_the_sentences(run, free) -> None:
    table = run("--highlight", "-q", "q", "-f", "table", stdin=LINES).out.decode()
    assert "9 second." in table
    assert "first" not in table
    text = run("--highlight", "-q", "q", "-f", "markdown", stdin=LINES).out.decode()
    assert "| 1 first. <mark>9 second.</mark> 4 third. |" in text


def test_formats_without_marks_say_so(run, free) -> None:
    for form in ("ids", "csv", "lines", "trec", "context"):
        assert f"--highlight has no effect on {form}: " in run(*TWO, "-f", form, stdin=LINES).err
    for form in ("table", "json", "jsonl", "markdown"):
        assert "no effect" not in run(*TWO, "-f", form, stdin=LINES).err


def test_a_long_document_is_searched_in_its_best_window(run) -> None:
    filler = "Nobody knows what the weather will be like in the mountains. " * 60
    answer = "Paris is the capital of France."
    text = f"{filler}{answer} {filler}".strip()
    command = ["-q", "What is the capital of France?", "--highlight", "--json", "--explain"]
    (result,) = json.loads(run(*command, stdin=text).out)["results"]
    assert result["explain"]["windows"] > 1
    (best,) = result["highlights"]
    assert result["explain"]["text"][best["start"] : best["end"]] == answer


def test_a_budget_that_cuts_off_the_best_window_leaves_the_sentences_before_it(run) -> None:
    filler = "Nobody knows what the weather will be like in the mountains. " * 60
    command = ["-q", "What is the capital of France?", "--highlight", "--json", "--max-context-tokens", "100"]
    (result,) = json.loads(run(*command, stdin=f"{filler}Paris is the capital of France.").out)["results"]
    (best,) = result["highlights"]
    assert best["end"] <= result["context_end"] < len(filler)
    assert filler[best["start"] : best["end"]].startswith("Nobody")


def test_offsets_of_rank_fields_are_of_the_scored_text(run) -> None:
    record = {"title": "France", "body": "Old country. Paris is the capital of France. Nice food."}
    command = ["-q", "capital of France", "--highlight", "--json", "--explain", "--rank-fields", "title,body"]
    (result,) = json.loads(run(*command, "--input-format", "jsonl", stdin=json.dumps(record)).out)["results"]
    (best,) = result["highlights"]
    assert result["explain"]["text"][best["start"] : best["end"]] == "Paris is the capital of France."


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40), min_size=1, max_size=4))
def test_highlights_are_the_best_sentences_of_any_text(run, free, texts: list[str]) -> None:
    given_texts = [f"7. {text}. End! 。終" for text in texts]
    lines = "\n".join(json.dumps({"text": text}) for text in given_texts)
    done = run(*TWO, "--json", "--input-format", "jsonl", stdin=lines)
    for result in json.loads(done.out)["results"]:
        text = result["document"]["text"]
        found = [(one["start"], one["end"]) for one in result["highlights"]]
        best = sorted(sentences(text), key=lambda span: (-sigmoid(value_of(text[slice(*span)])), span[0]))
        assert found == best[:2]


def test_batch_serve_and_python_give_the_same(run, tmp_path) -> None:
    query, answer, around = CLEAR[0]
    request = {"query": query, "documents": [around.format(answer), "Cats sleep. Dogs bark."], "highlight": 2}
    (tmp_path / "in.jsonl").write_text(json.dumps(request))
    rows = json.loads(run("batch", tmp_path / "in.jsonl").out)["results"]
    with Reranker() as reranker:
        hits = reranker.rank(query, request["documents"], highlight=2).hits
    assert [row["highlights"] for row in rows] == [[one._asdict() for one in hit.highlights] for hit in hits]


def test_serve_scores_the_sentences_in_a_job_of_their_own() -> None:
    with serving() as server:
        documents = LINES.splitlines()
        answer = server.post("/v1/rerank", query="q", documents=documents)
        assert "highlights" not in answer.json["results"][0]
        answer = server.post("/rerank", query="q", documents=documents, highlight=True, top_n=1)
        assert answer.json["results"] == [
            {"index": 1, "relevance_score": sigmoid(5.0), "highlights": [{"start": 0, "end": 8, "score": sigmoid(5.0)}]}
        ]
        assert answer.json["meta"]["stages"][-1]["sentences"] == 1
        assert server.post("/rerank", query="q", documents=documents, highlight="yes").status == 422
        assert server.post("/rerank", query="q", documents=documents, highlight=0).status == 400


def test_spans_of_a_provider_are_shown_and_cost_nothing(run) -> None:
    def spans(seen):
        body = cohere(seen)[2]
        payload = json.loads(body)
        for item in payload["results"]:
            item["relevant_spans"] = [{"start": 2, "end": 5, "score": 0.5}, {"start": 0, "end": 999, "score": 1}]
        return as_json(payload)

    with Loopback(spans) as server:
        command = ["-q", "cats", "-m", "cohere:rerank-v5.0-pro", "--endpoint", server.url, "-f", "jsonl"]
        for extra in ([], ["--highlight"]):
            done = run(*command, *extra, stdin="é cats sleep.\n", env={"CO_API_KEY": "k"})
            assert json.loads(done.out)["highlights"] == [{"start": 2, "end": 5, "score": 0.5}]
        assert len(server.seen) == 2, "the sentences are not sent"


def test_a_remote_model_is_asked_once_more_and_the_dry_run_says_so(run) -> None:
    command = ["-q", "cats", "-m", "cohere:rerank-v3.5", "--highlight"]
    with Loopback(cohere) as server:
        done = run(
            *command, "--endpoint", server.url, "-f", "jsonl", stdin="Dogs bark. Cats sleep.", env={"CO_API_KEY": "k"}
        )
        assert [one["start"] for one in json.loads(done.out)["highlights"]] == [11]
        assert [seen.body["documents"] for seen in server.seen][1:] == [["Dogs bark.", "Cats sleep."]]
    dry = run(*command, "--dry-run", "--json", stdin="Dogs bark. Cats sleep.")
    found = json.loads(dry.out)
    assert (found["requests"], found["documents"], found["units"]) == (2, 3, 2.0)
    assert "--highlight is included: at most 2 sentences in 1 request" in found["notes"]
    text = "Dogs bark. Cats sleep.\nCows moo.\n"
    found = json.loads(run(*command, "-q", "dogs", "-n", "1", "--dry-run", "--json", stdin=text).out)
    assert (found["requests"], found["documents"]) == (4, 8), "two texts, then two sentences, for each query"
    with Loopback(cohere) as server:
        argv = (*command, "-q", "dogs", "-n", "1", "--endpoint", server.url, "--json")
        assert run(*argv, stdin="Dogs bark. Cats sleep.\n", env={"CO_API_KEY": "k"}).code == 0
        sent = sorted((seen.body["query"], seen.body["documents"]) for seen in server.seen)
    one, two = ["Dogs bark. Cats sleep."], ["Dogs bark.", "Cats sleep."]
    assert sent == [("cats", two), ("cats", one), ("dogs", two), ("dogs", one)]
    chain = (
        "-q",
        "q",
        "-m",
        "tei:",
        "--endpoint",
        "http://127.0.0.1:9",
        "--fallback",
        "cohere:rerank-v3.5",
        "--highlight",
    )
    found = json.loads(run(*chain, "--dry-run", "--json", stdin=text).out)
    assert found["fallback"][0]["units"] == 2.0, "a fallback scores the sentences, too"


@pytest.mark.parametrize("more", [["--dry-run"], []])
def test_a_listwise_model_is_refused_before_anything_is_sent(run, more) -> None:
    command = ["-q", "x", "-m", "jina:jina-reranker-v3", "--highlight", *more]
    done = run(*command, stdin="One. Two.", env={"JINA_API_KEY": "k"})
    assert done.code == 2
    assert "--highlight needs a model that scores each text alone" in done.err


@pytest.mark.parametrize("value", [0, -1, 1.5, "x"])
def test_a_wrong_number_is_refused_in_python(value) -> None:
    from rerank_cli.errors import UsageError

    with Reranker() as reranker, pytest.raises(UsageError, match="highlight is"):
        reranker.rank("q", ["a"], highlight=value)
