"""`rerank mcp` with the client of the protocol's own SDK: two tools, errors as results, files only inside the root."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

pytest.importorskip("mcp")
from mcp import Client, StdioServerParameters, stdio_client

QUERY = "What is the capital of the United States?"
TEXTS = [
    "Carson City is the capital of Nevada.",
    "Washington, D.C. is the capital of the United States.",
    "Capital punishment has existed in the United States since before it was a country.",
]


def ask(
    *calls: tuple[str, dict[str, Any]], root: Path = ROOT / "sample_data", options: tuple[str, ...] = ()
) -> list[Any]:
    """The results of calls, in order, from one server process; the list of tools for `list`."""

    async def talk() -> list[Any]:
        argv = ["-m", "rerank_cli", "mcp", "--root", str(root), *options]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        with open(os.devnull, "w") as quiet:  # noqa: ASYNC230, PTH123 stderr needs a real file
            async with Client(
                stdio_client(StdioServerParameters(command=sys.executable, args=argv, env=env), quiet)
            ) as client:
                return [
                    (await client.list_tools()).tools if name == "list" else await client.call_tool(name, arguments)
                    for name, arguments in calls
                ]

    return asyncio.run(talk())


def message(result: Any) -> str:
    assert result.is_error
    return result.content[0].text


def test_texts_and_files_are_ranked_best_first() -> None:
    tools, texts, objects, files, whole = ask(
        ("list", {}),
        ("rank_documents", {"query": QUERY, "documents": TEXTS, "top_n": 2}),
        ("rank_documents", {"query": QUERY, "documents": [{"id": n, "body": text} for n, text in enumerate(TEXTS)],
                            "rank_fields": ["body"]}),
        ("rank_files", {"query": QUERY, "paths": ["capital.jsonl"], "top_n": 3}),
        ("rank_files", {"query": QUERY, "paths": ["*.jsonl", "capital.jsonl"], "top_n": 1, "input_format": "files"}),
    )  # fmt: skip
    assert [tool.name for tool in tools] == ["rank_documents", "rank_files"]
    assert all(tool.annotations.read_only_hint and not tool.annotations.open_world_hint for tool in tools)
    assert all(tool.output_schema["required"] == ["model", "documents", "results", "warnings"] for tool in tools)
    found = texts.structured_content
    assert json.loads(texts.content[0].text) == found
    assert (found["model"], found["documents"], len(found["results"])) == ("builtin", 3, 2)
    assert (found["results"][0]["index"], found["results"][0]["text"]) == (1, TEXTS[1])
    assert objects.structured_content["results"][0]["id"] == "1"
    assert json.loads(objects.structured_content["results"][0]["text"]) == {"id": 1, "body": TEXTS[1]}
    first = files.structured_content["results"][0]
    assert (first["id"], first["file"]) == ("washington-dc", "capital.jsonl")
    assert whole.structured_content["documents"] == len(list((ROOT / "sample_data").glob("*.jsonl")))
    assert whole.structured_content["results"][0]["file"].endswith(".jsonl")


def test_scores_are_those_of_the_command_line(run) -> None:
    (found,) = ask(("rank_files", {"query": QUERY, "paths": ["capital.jsonl"], "top_n": 100}))
    printed = run("-q", QUERY, ROOT / "sample_data/capital.jsonl", "--json").json["results"]
    assert [(hit["index"], hit["relevance_score"]) for hit in found.structured_content["results"]] == [
        (hit["index"], hit["relevance_score"]) for hit in printed
    ]


def test_nothing_outside_the_root_is_read(tmp_path: Path) -> None:
    root, secret = tmp_path / "root", tmp_path / "secret.txt"
    (root / "inner").mkdir(parents=True)
    secret.write_text("the secret\n")
    (root / "a.txt").write_text("a text\n")
    (root / "inner/link.txt").symlink_to(secret)
    (root / "inner/folder").symlink_to(tmp_path)
    os.mkfifo(root / "pipe")
    names = ["../secret.txt", str(secret), "inner/link.txt", "inner/folder/secret.txt", "inner/*", "inner/folder/../secret.txt",
             "../*.txt", "**/../../secret.txt", "/etc/*", "~/x", "pipe", "-", "a\0b", "", ".", "no.txt", "file:///etc/passwd"]  # fmt: skip
    results = ask(*(("rank_files", {"query": "x", "paths": [name]}) for name in names), root=root)
    for name, result in zip(names, results, strict=True):
        text = message(result)
        assert "the secret" not in text
        words = ("outside of the root", "no file is called", "cannot use the path", "is a folder")
        assert any(word in text for word in words), name


def test_limits_and_bad_arguments_are_results_that_an_agent_can_read(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"text": "fine"}\n{"text": \n')
    (tmp_path / "many.txt").write_text("line\n" * 6)
    calls = [
        ("rank_documents", {"query": "x", "documents": ["y"] * 6}),
        ("rank_files", {"query": "x", "paths": ["many.txt"]}),
        ("rank_files", {"query": "x", "paths": ["bad.jsonl"]}),
        ("rank_documents", {"query": " ", "documents": ["y"]}),
        ("rank_documents", {"query": "x", "documents": ["y"], "top_n": 0}),
        ("rank_documents", {"query": "x", "documents": [{"body": "y"}]}),
        ("rank_documents", {"query": "x"}),
    ]
    *results, after = ask(*calls, ("rank_documents", {"query": "x", "documents": ["y"]}), root=tmp_path,
                          options=("--max-documents", "5"))  # fmt: skip
    expected = [
        "more than 5 documents",
        "more than 5 documents",
        "bad.jsonl:2",
        "blank",
        "top_n",
        "rank_fields",
        "documents",
    ]
    for result, words in zip(results, expected, strict=True):
        assert words in message(result)
        assert str(tmp_path) not in message(result)
    assert not after.is_error, "the server goes on"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--root", "nowhere"), "--root: nowhere is not a folder"),
        (("-m", "no-such-model"), "unknown model `no-such-model`"),
        (("--max-documents", "0"), "at least 1"),
    ],
)
def test_a_server_that_cannot_start_says_why(run, options: tuple[str, ...], words: str) -> None:
    result = run("mcp", *options)
    assert (result.code, result.out) == (2, b"")
    assert words in result.err


def test_messages_name_arguments_of_the_tool_and_no_options(tmp_path: Path) -> None:
    (tmp_path / "body.jsonl").write_text('{"body": "a", "title": "b"}\n{"body": "c"}\n')
    (tmp_path / "table.csv").write_text('{"text": "a"}\n{"text": "b"}\n')
    (tmp_path / "words.jsonl").write_text("plain words\n")
    (tmp_path / "other.json").write_text(json.dumps({"rows": [{"text": "a"}]}))
    answers = ask(
        ("rank_files", {"query": "x", "paths": ["body.jsonl"]}),
        ("rank_documents", {"query": "x", "documents": [{"body": "a", "title": "b"}]}),
        ("rank_files", {"query": "x", "paths": ["body.jsonl"], "rank_fields": ["bdoy"]}),
        ("rank_files", {"query": "x", "paths": ["table.csv"]}),
        ("rank_files", {"query": "x", "paths": ["words.jsonl"]}),
        ("rank_files", {"query": "x", "paths": ["other.json"]}),
        root=tmp_path,
    )
    texts = [message(answer) for answer in answers]
    assert all("--" not in text for text in texts), texts
    assert texts[0].endswith('(did you mean `"rank_fields": ["body"]`? 2 of 2 have `body`)')
    assert all('`"rank_fields": ["body"]`' in text for text in texts[:3])
    assert 'it looks like JSONL: `"input_format": "jsonl"`' in texts[3]
    assert 'plain text is `"input_format": "lines"`' in texts[4]
