"""Numbers of options, variables and files are within bounds that the code behind them can bear."""

from __future__ import annotations

import os

import pytest

from rerank_cli import cpu
from rerank_cli.cli.app import COMMANDS, root
from rerank_cli.cli.params import typed_values
from rerank_cli.errors import UsageError
from rerank_cli.terminal import MOST_COLUMNS, Terminal

ABSURD = ["1e308", "1" + "0" * 400, "-1e308", "1e400", "nan", "inf", "²", "٣²", "99999999999999999999", "", " ", "1_0_"]


def numbers() -> list:
    """Every option with a number, of every command."""
    group = root()
    found = {}
    for name in COMMANDS:
        command = group.get_command(None, name)
        options = list(getattr(command, "options", []))
        for each in getattr(command, "commands", {}).values():
            options += getattr(each, "options", [])
        found |= {(name, option.name): option for option in options if option.kind in {int, float} and not option.count}
    return list(found.values())


@pytest.mark.parametrize("option", numbers(), ids=lambda option: option.name)
def test_absurd_numbers_are_refused(option) -> None:
    for text in ABSURD:
        with pytest.raises(UsageError) as caught:
            typed_values({option.name: text}, {option.name: option})
        assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    "argv",
    [
        ("--timeout", "1e308"),
        ("--max-wait", "1e308"),
        ("--concurrency", "1000000000"),
        ("--retries", "1000000000"),
        ("--timeout", "1e7"),
    ],
)
def test_times_and_counts_are_refused_before_anything_is_sent(run, argv: tuple[str, ...]) -> None:
    result = run("rank", "-q", "x", "-m", "cohere:rerank-v3.5", *argv, stdin="a\n")
    assert result.code == 2
    assert "too large" in result.err


def test_four_thousand_threads_are_as_many_as_processors(run) -> None:
    assert cpu.threads_of(4096) == os.cpu_count()
    assert cpu.threads_of(1) == 1
    assert cpu.threads_of(None) == cpu.available_threads()
    result = run("rank", "-q", "x", "--threads", "4096", stdin="a\nb\n")
    assert result.code == 0
    assert "--threads 4096" in result.err


@pytest.mark.parametrize("columns", ["²", "٣", "-5", "0", "1e9", "9" * 30, "9" * 5000, "80.5", " 80"])
def test_odd_columns_do_not_end_a_run(run, monkeypatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("LINES", columns)
    terminal = Terminal(None, None, None, {"COLUMNS": columns})  # type: ignore[arg-type]
    assert 1 <= terminal.width() <= MOST_COLUMNS
