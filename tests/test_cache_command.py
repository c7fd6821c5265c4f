"""`rerank cache` prints info, verifies and clears, and leaves files of other programs unchanged."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest


def test_cache_info_verify_and_clear(run, tmp_path):
    from rerank_cli.cache import ScoreCache
    from rerank_cli.cache_file import CACHE_FILE
    from rerank_cli.records import Score
    from rerank_cli.report import Report

    env = {"RERANK_CACHE_DIR": str(tmp_path)}
    assert run("cache", "info", "--json", env=env).json["scores"] == 0
    store = ScoreCache(tmp_path / CACHE_FILE, Report())
    store.put({b"k" * 16: Score(1.0), b"l" * 16: Score(2.0)})
    store.close()
    found = run("cache", "info", "--json", env=env).json
    assert found["scores"] == 2
    assert found["path"] == str(tmp_path / CACHE_FILE)
    assert run("cache", "verify", env=env).lines[1:] == ["scores: 2", "damaged: 0", "problems: none"]
    assert run("cache", "clear", env=env).lines[1] == "forgotten: 2"
    assert run("cache", "info", "--cache-path", tmp_path / CACHE_FILE).lines[1] == "scores: 0"


def test_a_damaged_cache_is_reported_with_a_way_to_replace_it(run, tmp_path):
    path = tmp_path / "scores-v1.sqlite"
    path.write_bytes(b"rubbish" * 999)
    done = run("cache", "verify", "--cache-path", path)
    assert (done.code, done.out) == (3, b"")
    assert "cannot read the score cache" in done.err
    assert "`rerank cache clear` makes a new one" in done.err
    assert run("cache", "clear", "--cache-path", path).code == 0
    assert run("cache", "verify", "--cache-path", path).code == 0
    assert "did you mean `verify`?" in run("cache", "verfy").err


@pytest.mark.parametrize("action", ["info", "verify", "clear"])
@pytest.mark.parametrize("kind", ["text", "database"])
def test_a_file_that_is_not_a_cache_is_left_unchanged(run, tmp_path, action, kind):
    path = tmp_path / "thesis"
    path.write_text("words " * 1000 if kind == "text" else "")
    if kind == "database":
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE bookmarks (url TEXT)")
    before = path.read_bytes()
    done = run("cache", action, "--cache-path", path)
    assert (done.code, done.out) == (3, b"")
    assert done.err.startswith(f"rerank: error: {path} is not a score cache: ")
    assert "hint: it was not changed; choose another with --cache-path" in done.err
    assert path.read_bytes() == before


@pytest.mark.parametrize("action", ["info", "verify", "clear"])
def test_a_folder_is_refused_as_a_cache(run, tmp_path, action):
    done = run("cache", action, "--cache-path", tmp_path)
    assert done.code == 3
    assert f"{tmp_path} is a folder, no score cache\nhint: name the file in it: --cache-path {tmp_path}/s" in done.err


def test_rows_of_other_types_end_no_command(run, tmp_path):
    """The whole way: a run with the cache, then every `cache` command."""
    path = tmp_path / "scores.sqlite"
    argv = ("-q", "bread", "--cache", "--cache-path", path, "-f", "jsonl")
    whole = run(*argv, stdin="bread\nbutter\nwater\n")
    values = [("row = 'text'",), ("row = 5",), ("used = 'yesterday'",), ("used = 1e300",), ("used = 1 << 60",)]
    for (change,) in values:
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(f"UPDATE scores SET {change} WHERE key = (SELECT min(key) FROM scores)")
        found = run(*argv, stdin="bread\nbutter\nwater\n")
        assert (found.code, found.out) == (0, whole.out)
        assert "damaged rows: scored again" in found.err
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE scores SET used = 1 << 60")
        connection.execute("UPDATE meta SET value = 'many'")
    assert run("cache", "info", "--cache-path", path).lines[1:2] == ["scores: 3"]
    assert run("cache", "verify", "--cache-path", path).code == 3
    assert run("cache", "clear", "--cache-path", path).lines[1] == "forgotten: 3"


def test_a_path_that_cannot_be_is_reported(run, tmp_path):
    for path in (tmp_path / ("n" * 300), tmp_path / "file" / "cache"):
        (tmp_path / "file").write_text("")
        for action in ("info", "verify", "clear"):
            found = run("cache", action, "--cache-path", path)
            assert "Traceback" not in found.err
            assert "internal error" not in found.err
            assert found.code in {0, 3}
