"""Inputs are limited before they are held: the length of a line, and what a compressed file may hold."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import resource
import subprocess
import sys
from pathlib import Path

import pytest

LONG = "x" * 2000
DOCUMENT = json.dumps({"id": "a", "text": LONG})
LINES = {
    "lines": f"first\n{LONG}\n",
    "jsonl": f'{{"text": "first"}}\n{DOCUMENT}\n',
    "csv": f'id,text\n1,"{LONG}"\n',
    "tsv": f"id\ttext\n1\t{LONG}\n",
}


@pytest.mark.parametrize("last", ["", "\n"], ids=["no line end", "line end"])
@pytest.mark.parametrize("kind", LINES)
def test_a_line_beyond_the_limit_is_refused_with_its_place(run, tmp_path: Path, kind: str, last: str) -> None:
    path = tmp_path / f"long.{kind}"
    path.write_text(LINES[kind].removesuffix("\n") + last)
    refused = run("-q", "x", "--max-line", "1000", "--input-format", kind, str(path))
    assert (refused.code, refused.out) == (3, b"")
    assert f"{path}:2: the line is longer than 1000 bytes" in refused.err
    assert "`--max-line 2000`" in refused.err
    assert run("-q", "x", "--max-line", "4000", "--input-format", kind, str(path)).code == 0


def test_the_limit_of_a_line_holds_in_every_command(run, tmp_path: Path) -> None:
    long, query = tmp_path / "long.jsonl", tmp_path / "q.txt"
    long.write_text(DOCUMENT + "\n")
    query.write_text(f"1\t{'y' * 2000}\n")
    short = tmp_path / "run.trec"
    short.write_text("1 Q0 a 1 1.0 x\n")
    for argv in (
        ("batch", "--queries", str(query), "--documents", str(long)),
        ("batch", "--run", str(short), "--queries", str(query), "--corpus", str(long)),
        ("eval", "--qrels", str(long), str(short)),
        ("compare", str(long), str(short)),
    ):
        refused = run(*argv, "--max-line", "1000")
        assert refused.code == 3, argv
        assert "longer than 1000 bytes" in refused.err, argv


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gzip", "bzip2", "xz"])
@pytest.mark.parametrize("name", ["list.json", "list.yaml", "files.txt", "pretty.jsonl"])
def test_a_compressed_file_that_is_read_whole_is_limited(run, tmp_path: Path, pack, name: str) -> None:
    documents = [{"id": str(number), "text": LONG} for number in range(1000)]
    if name == "pretty.jsonl":
        text = "\n".join(json.dumps(document, indent=1) for document in documents)
    else:
        text = json.dumps(documents)
    path = tmp_path / f"{name}.packed"
    path.write_bytes(pack(text.encode()))
    form = {"files.txt": "files", "pretty.jsonl": "jsonl", "list.yaml": "yaml"}.get(name, "json")
    refused = run("-q", "x", "--input-format", form, "--max-unpacked", "1000000", str(path))
    assert refused.code == 3
    assert f"{path}" in refused.err
    assert "`--max-unpacked 2000000`" in refused.err


def test_a_compressed_file_of_lines_may_be_longer_than_the_limit(run, tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "a"}\n' * 200_000))
    result = run("-q", "x", "--dedupe", "--max-unpacked", "1000000", "-f", "ids", str(path))
    assert (result.code, result.text) == (0, "0\n")


def test_json_on_one_line_is_not_a_long_line(run, tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text(json.dumps([{"text": LONG}, {"text": "b"}]))
    assert run("-q", "x", "--max-line", "1000", "-f", "ids", str(path)).text.split() in (["0", "1"], ["1", "0"])


@pytest.mark.parametrize("start", [b"", b'{"text": "'], ids=["text", "JSON"])
@pytest.mark.parametrize("name", ["bomb.gz", "bomb.jsonl.gz"])
def test_two_gigabytes_on_one_line_are_refused_in_bounded_memory(tmp_path: Path, name: str, start: bytes) -> None:
    """As many letters compress to 9 MB; the address space ends long before they would fit."""
    path = tmp_path / name
    block = bytes(b"a" * (1 << 20))
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(64):
            file.write(block)
    packed = path.read_bytes()
    path.write_bytes(gzip.compress(start) + packed * 32)  # members of a gzip file follow each other

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (3 << 29, 3 << 29))

    argv = [sys.executable, "-m", "rerank_cli", "-q", "x", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False, preexec_fn=limit)
    assert done.returncode == 3, done.stderr
    assert f"{path}:1: the line is longer than 268435456 bytes" in done.stderr
