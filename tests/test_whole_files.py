"""`--input-format files`: what is read, what is left out and counted, and the text of HTML."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from free_scorer import FreeScorer
from hypothesis import given
from hypothesis import strategies as st
from readers_support import read

from rerank_cli.readers.htmltext import html_text


@pytest.fixture(autouse=True)
def folder(free: FreeScorer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_files_that_are_no_text_are_left_out_and_counted(run, tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("1 a")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "sub").mkdir()
    names = ("latin.txt", "good.txt", "x.png", "sub")
    result = run("-q", "q", "--input-format", "files", "-f", "ids", *names)
    assert (result.code, result.lines) == (0, ["good.txt"])
    assert "warning: 3 of 4 files are left out, the first: latin.txt:1: invalid UTF-8" in result.err
    read_too = run("-q", "q", "--input-format", "files", "-f", "ids", "--encoding", "cp1252", *names)
    assert sorted(read_too.lines) == ["good.txt", "latin.txt"]
    nothing = run("-q", "q", "--input-format", "files", "latin.txt", "x.png")
    assert (nothing.code, "--encoding cp1252" in nothing.err) == (3, True)
    assert "no such file" in run("-q", "q", "--input-format", "files", "good.txt", "none.txt").err


PAGE = """<!DOCTYPE html><html><head><title>Cats &amp; dogs</title><style>p {color: red}</style><script>if (1 < 2) x()</script>
</head><body><h1>Cats</h1><p>One <b>bold</b>
word<br>two</p><!-- not this --><pre>a
  b</pre><ul><li>x<li>y</ul><template>no</template></body></html>"""


def test_html_is_read_as_its_text(run, tmp_path: Path) -> None:
    expected = "Cats & dogs\nCats\nOne bold word\ntwo\na\nb\nx\ny"
    assert html_text(PAGE) == expected
    for name in ("x.html", "x.htm.gz", "page"):
        data = PAGE.encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        assert read(b"", name, input_format="files").texts == [expected]
    (tmp_path / "l.html").write_bytes('<meta charset="iso-8859-1"><p>café'.encode("latin-1"))
    assert read(b"", "l.html", input_format="files").texts == ["café"]
    assert read(b"", "l.html", input_format="files", encoding="cp1251").texts != ["café"]


@given(st.text(max_size=200))
def test_no_page_breaks_the_parser(page: str) -> None:
    html_text(page)
