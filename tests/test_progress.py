"""The progress bar: on a terminal only, not for short runs, and with the total where it can be known."""

from __future__ import annotations

import time

import pytest

from rerank_cli.cli.progress import with_total
from rerank_cli.records import Document, Source
from rerank_cli.terminal import Progress

ESC = "\x1b"


@pytest.fixture
def slow(free, monkeypatch):
    """Scores once the bar is drawn, and keeps it."""
    original, bars = free.score, []

    def score(pairs, limits, advance=None):
        while advance.bar is None:
            time.sleep(0.01)
        bars.append(advance)
        advance(len(pairs))
        return original(pairs, limits)

    monkeypatch.setattr(free, "score", score)
    return bars


def test_it_knows_how_many_documents_a_file_has(run, slow, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("rerank_cli.terminal.PROGRESS_AFTER_S", 0.05)
    (tmp_path / "docs.txt").write_text("a\nb\nc\n")
    done = run("-q", "q", tmp_path / "docs.txt", "-f", "lines", tty={"stderr"}, columns=100)
    assert slow[0].total == slow[0].done == 3
    assert "ranking" in done.err
    assert ESC in done.err


@pytest.mark.parametrize(("tty", "after"), [({"stderr"}, 3600), (set(), 0)], ids=["a short run", "a pipe"])
def test_it_does_not_appear(run, free, monkeypatch, tty, after) -> None:
    monkeypatch.setattr("rerank_cli.terminal.PROGRESS_AFTER_S", after)
    done = run("-q", "q", "-f", "lines", stdin="a\nb\n", tty=tty)
    assert (done.code, ESC in done.err) == (0, False)


def test_the_total_is_estimated_by_bytes_until_all_is_read(tmp_path) -> None:
    path, source = tmp_path / "docs.txt", Source("docs.txt", "line")
    path.write_bytes(b"abcd\n" * 10)
    documents = [Document(i, b"abcd", "abcd", source) for i in range(10)]
    advance = Progress()
    totals = [
        advance.total for _ in with_total(iter([documents[:2], documents[2:5], documents[5:]]), (str(path),), advance)
    ]
    assert totals == [10, 10, 10]
    advance = Progress()
    totals = [advance.total for _ in with_total(iter([documents[:2], documents[2:5]]), ("-",), advance)]
    assert totals == [None, 5], "of a pipe only when it has ended"


def test_the_total_is_what_a_prefilter_leaves() -> None:
    documents = [Document(n, b"x" * 9, "x" * 9, Source("-", "line"), None) for n in range(9)]
    advance = Progress(None, None)
    chunks = with_total(iter([documents[:2], documents[2:5], documents[5:]]), ("-",), advance, 4)
    assert [advance.total for _ in chunks][-1] == 4
