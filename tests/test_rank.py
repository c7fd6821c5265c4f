"""`rerank rank` on the command line: sample data in every format, bytes preserved, errors and exit codes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from conftest import CAPITAL, SAMPLES
from readers_support import zstd

from rerank_cli.writers import FORMATS

WASHINGTON = "Washington, D.C."
TWO = b'{"text": "Washington is the capital of the United States."}\n{"text": "Bread and butter."}\n'


@pytest.mark.parametrize("name", ["capital.txt", "capital.jsonl", "capital.yaml", "capital.csv"])
def test_washington_is_first_in_every_input_format(run, name: str) -> None:
    found = run("-q", CAPITAL, SAMPLES / name)
    assert found.code == 0, found.err
    assert WASHINGTON in found.lines[1 if name.endswith("csv") else 0]
    piped = run(
        "-q", CAPITAL, "--input-format", "csv" if name.endswith("csv") else "auto", stdin=(SAMPLES / name).read_bytes()
    )
    assert piped.out == found.out


@pytest.mark.parametrize("name", ["capital_v1.json", "capital_v2.json"])
def test_a_cohere_shaped_request_needs_no_flags(run, name: str) -> None:
    found = run("--json", stdin=(SAMPLES / name).read_bytes())
    assert found.code == 0, found.err
    body = json.loads((SAMPLES / name).read_bytes())
    assert len(found.json["results"]) == min(body.get("top_n", 99), len(body["documents"]))
    assert WASHINGTON in json.dumps(body["documents"][found.json["results"][0]["index"]])


def test_flags_override_the_request(run) -> None:
    body = json.dumps(
        {"query": "bread", "documents": ["Bread and butter.", "Milk.", WASHINGTON + " is the capital."], "top_n": 2}
    )
    assert len(run("--json", stdin=body).json["results"]) == 2
    found = run("--json", "-n", "1", "-q", CAPITAL, stdin=body).json
    assert [r["index"] for r in found["results"]] == [2]
    assert "ignored" in run("--json", stdin=body[:-1] + ', "model": "rerank-v3.5"}').err


def test_yaml_to_json_gives_indices(run) -> None:
    found = run("-q", CAPITAL, "--json", stdin=(SAMPLES / "capital.yaml").read_bytes()).json
    assert found["results"][0]["index"] == 3
    assert found["results"][0]["rank"] == 1
    assert found["meta"]["model"] == "builtin"
    assert found["meta"]["schema_version"] == 1


def test_jsonl_records_keep_their_bytes(run) -> None:
    records = [
        b'{"z": 1.10, "text": "Washington is the capital.", "big": 123456789012345678901234567890, "a": [1e2]}',
        '{"text": "bread\u2028and butter", "n": null}'.encode(),
        b'{"text": "lone \\ud800 surrogate", "id":7}',
        b'{ "text" :"spaces"  , "t": true }',
    ]
    found = run("-q", CAPITAL, stdin=b"\r\n".join(records) + b"\n")
    assert found.code == 0, found.err
    lines = found.out.split(b"\n")[:-1]
    assert len(lines) == 4
    for line in lines:
        index = json.loads(line)["index"]
        head, tail = line.split(b',"index":')
        assert head == records[index].rstrip()[:-1].rstrip() or head == records[index][:-1]
        assert set(json.loads(b'{"index":' + tail)) == {"index", "rank", "relevance_score"}


def test_lines_are_written_byte_for_byte_even_if_binary(run) -> None:
    lines = [
        b"src/a.py:1:\xff\xfe garbage \x00 here",
        b"\tWashington is the capital of the United States  ",
        b"bread \xe4 butter\r",
    ]
    found = run("-q", CAPITAL, "-n", "20", stdin=b"\n".join(lines))
    assert found.code == 0
    assert sorted(found.out.split(b"\n")[:-1]) == sorted(lines)
    assert found.out.split(b"\n")[0] == lines[1]
    assert "2 lines hold invalid UTF-8" in found.err


def test_nul_separated_records_stay_nul_separated(run) -> None:
    found = run("-q", CAPITAL, "-z", stdin=b"bread\nand butter\0Washington is\nthe capital\0")
    assert found.out == b"Washington is\nthe capital\0bread\nand butter\0"


def test_gzip_and_zstd_are_read_by_content(run, tmp_path: Path) -> None:
    plain = run("-q", CAPITAL, stdin=TWO).out
    assert run("-q", CAPITAL, stdin=gzip.compress(TWO)).out == plain
    (tmp_path / "d.jsonl.zst").write_bytes(zstd.compress(TWO))
    assert run("-q", CAPITAL, tmp_path / "d.jsonl.zst").out == plain


def test_rank_fields_render_in_order_and_reach_nested_keys(run) -> None:
    docs = b'{"meta": {"title": "Capital city"}, "body": "Washington"}\n{"meta": {"title": "Bread"}, "body": null}\n'
    found = run("-q", CAPITAL, "--rank-fields", "meta.title,body", "--json", "--explain", stdin=docs)
    assert found.code == 0, found.err
    assert "Capital city" in json.dumps(found.json["results"][0])
    both = [
        run("-q", CAPITAL, "--rank-fields", f, "--json", "--raw-scores", stdin=docs).json["results"][0][
            "relevance_score"
        ]
        for f in ("meta.title,body", "body,meta.title")
    ]
    assert both[0] != both[1]


def test_the_emails_request_ranks_by_title_and_content(run) -> None:
    found = run("--json", stdin=(SAMPLES / "emails.json").read_bytes())
    assert found.code == 0, found.err
    assert len(found.json["results"]) == 5


@pytest.mark.parametrize("shape", FORMATS)
def test_every_format_writes_the_same_order(run, shape: str) -> None:
    found = run("-q", CAPITAL, "-f", shape, SAMPLES / "capital.jsonl")
    assert found.code == 0, found.err
    order = ["Washington", "Carson"]
    if shape in {"ids", "trec"}:
        order = [json.loads(line)["id"] for line in (SAMPLES / "capital.jsonl").read_text().splitlines()][3:4]
    assert order[0] in found.text


def test_output_goes_to_a_file_whole_or_not_at_all(run, tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    assert run("-q", CAPITAL, "-o", target, stdin=TWO).out == b""
    assert json.loads(target.read_bytes())["results"][0]["index"] == 0
    before = target.read_bytes()
    assert run("-q", CAPITAL, "-o", target, stdin=b'{"text": "x"}\n{broken\n').code == 3
    assert target.read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]


def test_verbose_names_model_backend_and_reason(run) -> None:
    found = run("-q", CAPITAL, "-v", stdin=TWO)
    assert "backend onnx" in found.err
    assert run("-q", CAPITAL, "--quiet", stdin=TWO + b'{"text": ""}\n').err == ""


def test_an_empty_document_is_last_and_counted(run) -> None:
    found = run("-q", CAPITAL, stdin=b'{"text": ""}\n' + TWO)
    assert found.records[-1]["relevance_score"] is None
    assert "1 document is empty" in found.err


BAD = [
    ("blank query", ["-q", "  "], TWO, 2, "the query is blank", ""),
    ("no query", [], TWO, 2, "no query", "--query"),
    ("broken json", ["-q", "x"], TWO * 3 + b'{"text": \n', 3, "<stdin>:7", "is it complete?"),
    ("json scalar", ["-q", "x"], TWO + b"17\n", 3, "<stdin>:3", ""),
    ("bad utf-8", ["-q", "x"], TWO + b'{"text": "\xff"}\n', 3, "<stdin>:3", ""),
    ("no usable field", ["-q", "x"], b'{"body": "b", "n": 1}\n', 3, "body", "body"),
    ("wrong rank field", ["-q", "x", "--rank-fields", "titel"], b'{"title": "b"}\n', 3, "titel", "title"),
    ("rank fields on lines", ["-q", "x", "--rank-fields", "title"], b"plain\nlines\n", 3, "rank", ""),
    ("n 0", ["-q", "x", "-n", "0"], TWO, 2, "`0` is too small", "at least 1"),
    ("n text", ["-q", "x", "-n", "five"], TWO, 2, "`five` is not a whole number", ""),
    ("unknown option", ["-q", "x", "--top"], TWO, 2, "unknown option `--top`", "--top-n"),
    ("unknown format", ["-q", "x", "-f", "jsonn"], TWO, 2, "unknown value `jsonn`", "json"),
    ("unknown model", ["-q", "x", "-m", "bultin"], TWO, 2, "bultin", "builtin"),
    ("missing file", ["-q", "x", "no-such.jsonl"], b"", 3, "no-such.jsonl", ""),
    ("directory", ["-q", "x", "."], b"", 3, "directory", "files"),
    ("misspelt command", ["rnak", "-q", "x"], b"", 3, "rnak", "rerank rank"),
    ("query without flag", ["capital of the US"], b"", 2, "capital of the US", "--query"),
    ("two queries", ["-q", "x", "--query-file", "y"], TWO, 2, "exclude each other", ""),
    ("fusion alone", ["-q", "x", "--fusion", "rrf"], TWO, 2, "--fusion", "--prior-field"),
    ("model folder", ["-q", "x", "-m", "./no-folder"], TWO, 4, "no-folder", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("argv", "stdin", "code", "said", "hint"), [row[1:] for row in BAD], ids=[row[0] for row in BAD]
)
def test_bad_input_gets_a_message_a_hint_a_code_and_an_empty_stdout(run, argv, stdin, code, said, hint) -> None:
    found = run(*argv, stdin=stdin)
    assert found.out == b""
    assert found.code == code
    assert found.err.startswith("rerank: error: ")
    assert said in found.err
    assert hint in found.err.partition("hint: ")[2]
    assert "Traceback" not in found.err


def test_a_yaml_bomb_is_refused(run) -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"] + [
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)
    ]
    found = run("-q", "x", "--input-format", "yaml", stdin="\n".join(levels))
    assert found.code == 3
    assert "alias" in found.err


def test_no_documents_is_an_empty_result_and_a_note(run) -> None:
    found = run("-q", "x", stdin=b"")
    assert (found.out, found.code) == (b"", 0)
    assert "no documents" in found.err
    assert run("-q", "x", "--fail-if-empty", stdin=b"\n \n").code == 7
    assert run("-q", "x", "--json", stdin=b"").json["results"] == []


def test_a_terminal_on_stdin_is_not_waited_for(run) -> None:
    found = run("-q", "x", tty={"stdin"})
    assert found.code == 2
    assert found.out == b""
    found = run(tty={"stdin"})
    assert found.code == 2
    assert "usage: rerank" in found.err


def test_bom_and_crlf_are_not_content(run) -> None:
    plain = run("-q", CAPITAL, "--json", stdin=TWO).json["results"]
    found = run("-q", CAPITAL, "--json", stdin=b"\xef\xbb\xbf" + TWO.replace(b"\n", b"\r\n")).json["results"]
    assert [r["relevance_score"] for r in found] == [r["relevance_score"] for r in plain]


def test_numbers_nulls_and_lists_in_fields_are_scored_as_text(run) -> None:
    docs = b'{"a": 42, "b": null, "c": ["x", "y"], "text": 7}\n{"a": 1.5, "c": [], "text": "t"}\n'
    assert run("-q", "x", "--rank-fields", "a,b,c", stdin=docs).code == 0
    assert run("-q", "x", stdin=docs).code == 0


def test_a_megabyte_document_is_cut_and_counted(run) -> None:
    found = run("-q", CAPITAL, "--json", stdin=json.dumps({"text": "Washington is the capital. " * 40_000}))
    assert found.code == 0
    assert found.json["meta"]["truncated"] == 1
    assert "1 document was cut" in found.err


def test_escape_sequences_bidi_and_markup_are_harmless_on_a_terminal(run) -> None:
    docs = "\x1b[31mred\x1b[0m [b]bold[/b] [/x] \u202ereversed\u2066\n\x07bell [a-z]\n"
    found = run("-q", "red", stdin=docs, tty={"stdout"}, columns=80)
    assert found.code == 0, found.err
    assert "\x1b[31m" not in found.text
    assert "\u202e" not in found.text
    assert "\x07" not in found.text
    assert "[b]bold[/b] [/x]" in found.text
    assert "[a-z]" in found.text


def test_failed_expectations_exit_7_and_print_the_results(run) -> None:
    found = run("-q", CAPITAL, "--expect", "washington@1", "--min-score", "0.0001", stdin=TWO)
    assert found.code == 7
    assert found.out
    assert run("-q", CAPITAL, "--expect", "0@1", stdin=TWO).code == 0
    assert run("-q", CAPITAL, "--expect", "1@1", stdin=TWO).code == 7
    assert run("-q", CAPITAL, "--expect", "nonsense", stdin=TWO).code == 2
    assert run("-q", CAPITAL, "--min-score", "1", "--fail-if-empty", stdin=TWO).code == 7


def test_scores_in_one_pipe_feed_the_next(run) -> None:
    first = run("-q", CAPITAL, "-f", "jsonl", SAMPLES / "capital.jsonl")
    second = run("-q", CAPITAL, stdin=first.out)
    assert "already had a result key (`index`, `rank`, `relevance_score`)" in second.err
    assert all(list(r).count("rank") == 1 for r in second.records)
    assert second.out.count(b'"relevance_score"') == 10
    assert [r["id"] for r in second.records] == [r["id"] for r in first.records]


def test_the_public_api_ranks_strings_and_mappings() -> None:
    from rerank_cli import Reranker

    docs = ["Bread.", "Washington is the capital of the United States.", ""]
    with Reranker("builtin") as reranker:
        logits = reranker.score(CAPITAL, docs)
        assert logits[1] > logits[0]
        assert logits[2] != logits[2]
        ranking = reranker.rank(CAPITAL, docs, top_n=2)
        assert [hit.index for hit in ranking.hits] == [1, 0]
        assert ranking.hits[0].document is docs[1]
        assert ranking.hits[0].rank == 1
        mapping = [{"title": "Capital", "body": "Washington"}, {"title": "Bread"}]
        assert reranker.rank(CAPITAL, mapping, rank_fields=["title", "body"]).hits[0].document is mapping[0]


def test_the_public_api_names_unknown_options() -> None:
    from rerank_cli import Reranker
    from rerank_cli.errors import UsageError

    with pytest.raises(UsageError, match="no option `bakend`"):
        Reranker("builtin", bakend="onnx")


def test_csv_rows_keep_their_line_ends(run) -> None:
    for end in ("\n", "\r\n"):
        rows = end.join(["id,text", 'a,"Bread and"', "b,Washington is the capital", ""])
        found = run("-q", CAPITAL, "--input-format", "csv", stdin=rows)
        assert found.out.count(b"\r\n") == (3 if end == "\r\n" else 0)
        assert found.out.startswith(f"id,text,index,rank,relevance_score{end}b,Washington is the capital,1,1,".encode())
