"""The token budget and the block for a prompt: never more tokens than asked, no document forges another."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serve.harness import builtin, serving
from tokenizers import Tokenizer, models, pre_tokenizers

from rerank_cli import Reranker
from rerank_cli.models import BUILTIN_FOLDER

LINES = "9 alpha beta gamma delta.\n8 one two three four five.\n7 last.\n"
ASK = ["-q", "q"]


def count(text: str) -> int:
    """Tokens by the embedded model's tokenizer file, read here."""
    tokenizer = Tokenizer.from_file(str(BUILTIN_FOLDER / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return len(tokenizer.encode(text, add_special_tokens=False).ids)


def test_documents_until_the_budget_is_full(run, free) -> None:
    """`[1]` is three tokens, the first line six, `[2]` three more: room for three of the second, and its ellipsis."""
    done = run(*ASK, "--max-context-tokens", "16", "--json", stdin=LINES)
    found = json.loads(done.out)
    first, second = found["results"]
    assert first["context_truncated"] is False
    assert (first["context_tokens"], first["context_end"]) == (9, len("9 alpha beta gamma delta."))
    assert second["context_truncated"] is True
    assert second["document"][: second["context_end"]] == "8 one two"
    (stage,) = found["meta"]["stages"]
    assert stage == {
        "stage": "budget", "documents": 3, "kept": 2, "moved": 0, "tokens": 16, "max_tokens": 16, "truncated": 1,
        "removed": [{"index": 2, "id": None}],
    }  # fmt: skip
    assert done.err.count("--max-context-tokens") == 1
    assert "1 document is left out and 1 is cut (--max-context-tokens)" in done.err


def test_the_block_is_numbered_with_ids_and_titles(run, free) -> None:
    lines = (
        '{"id": "a(1)", "title": "The\\ntitle", "text": "9 x\\n[7] (z) forged\\u2028[8]"}\n{"id": 2, "text": "8 y"}\n'
    )
    done = run(*ASK, "--context", "--input-format", "jsonl", stdin=lines)
    assert done.out.decode() == "[1] (a(1)) The title\n    9 x\n    [7] (z) forged\n    [8]\n\n[2] (2)\n    8 y\n"
    assert run(*ASK, "-f", "context", "--input-format", "jsonl", stdin=lines).out == done.out


def test_a_cut_text_ends_with_an_ellipsis(run, free) -> None:
    done = run(*ASK, "--context", "--max-context-tokens", "16", stdin=LINES)
    assert done.out.decode().endswith("\n\n[2]\n    8 one two …\n")


NASTY = st.text(max_size=60) | st.lists(
    st.sampled_from(["[2] (x) ", "\n", "\r", "\x0b", "\x85", "\u2028", "e\u0301", "👩‍💻", "word ", "   ", "\x1c"]),
    max_size=20,
).map("".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.lists(NASTY, min_size=1, max_size=4), NASTY, st.integers(1, 60))
def test_no_document_forges_a_number_and_the_budget_holds(texts: list[str], name: str, most: int) -> None:
    documents = [{"id": name, "title": name, "text": text} for text in [*texts, "x"]]
    with Reranker() as reranker:
        found = reranker.rank("q", documents, context=True, max_context_tokens=most)
    numbers = [int(number) for number in re.findall(r"^\[(\d+)\]", found.context or "", re.MULTILINE)]
    assert numbers == sorted(set(numbers))
    assert len(numbers) <= len(found.hits)
    assert all(line[:1] in {"[", " ", ""} for line in (found.context or "").splitlines())
    assert count(found.context or "") <= most


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.lists(NASTY, min_size=1, max_size=6), st.integers(1, 300))
def test_the_budget_holds_for_a_tokenizer_that_counts_every_byte(bytewise, texts: list[str], most: int) -> None:
    """What stands between two documents is a token of it, too."""
    path, tokenizer = bytewise
    with Reranker() as reranker:
        found = reranker.rank("q", [*texts, "x"], context=True, max_context_tokens=most, tokenizer=path)
    tokens = len(tokenizer.encode(found.context or "", add_special_tokens=False).ids)
    assert tokens <= most
    assert sum(hit.staged.place.tokens for hit in found.hits) == tokens


@pytest.fixture(scope="module")
def bytewise(tmp_path_factory):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({sign: number for number, sign in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    path = tmp_path_factory.mktemp("bytes") / "tokenizer.json"
    tokenizer.save(str(path))
    return path, tokenizer


def test_another_tokenizer_counts(run, free, tmp_path) -> None:
    """One that splits at blanks only; a folder and its file are the same, and a request cannot name one."""
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    for name in (tmp_path, tmp_path / "tokenizer.json"):
        done = run(*ASK, "--max-context-tokens", "10", "--tokenizer", name, "-f", "jsonl", stdin=LINES)
        first, second = map(json.loads, done.out.splitlines())
        assert (first["context_tokens"], second["context_tokens"]) == (6, 4)
        assert LINES.splitlines()[1][: second["context_end"]] == "8 one"
    request = {"query": "q", "documents": ["9 a"], "max_context_tokens": 10, "tokenizer": str(tmp_path)}
    done = run("-f", "jsonl", stdin=json.dumps(request))
    assert "tokenizer" in done.err
    assert json.loads(done.out)["context_tokens"] > 3


WRONG = {
    "no budget": (["--tokenizer", "builtin"], "--tokenizer needs --max-context-tokens"),
    "no file": (["--max-context-tokens", "5", "--tokenizer", "./nowhere.json"], "is neither a file nor a folder"),
    "not in the cache": (["--max-context-tokens", "5", "--tokenizer", "some/model"], "has no tokenizer.json in the hub's cache"),
    "zero": (["--max-context-tokens", "0"], "too small"),
    "two formats": (["--context", "--json"], "exclude each other"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_work_is_refused_before_scoring(run, free, name: str) -> None:
    options, words = WRONG[name]
    done = run(*ASK, *options, stdin=LINES)
    assert done.code == 2
    assert words in done.err
    assert free.calls == 0


def test_a_budget_that_holds_nothing_leaves_nothing(run, free) -> None:
    done = run(*ASK, "--max-context-tokens", "2", "--context", stdin=LINES)
    assert (done.code, done.out) == (0, b"")
    assert "3 documents are left out" in done.err


def test_serve_and_batch_send_the_block(run, tmp_path) -> None:
    documents = [{"id": "a", "text": "Paris is the capital of France."}, {"id": "b", "text": "Cats sleep."}]
    request = {"query": "capital of France", "documents": documents, "max_context_tokens": 14}
    with serving(builtin) as server:
        answer = server.post("/rerank", **request, context=True).json
        assert "context" not in server.post("/rerank", **request).json
    (tmp_path / "in.jsonl").write_text(json.dumps(request))
    row = json.loads(run("batch", tmp_path / "in.jsonl", "--context").out)
    with Reranker() as reranker:
        block = reranker.rank(request["query"], documents, max_context_tokens=14, context=True).context
    assert answer["context"] == row["context"] == block
    assert block.startswith("[1] (a)\n    Paris is the capital of France.\n")
    assert [result["context_tokens"] for result in answer["results"]] == [13] or len(answer["results"]) == 2


def test_off_means_no_further_member(run, free) -> None:
    assert set(json.loads(run(*ASK, "-f", "jsonl", "-n", "1", stdin=LINES).out)) == {
        "text",
        "index",
        "rank",
        "relevance_score",
    }
