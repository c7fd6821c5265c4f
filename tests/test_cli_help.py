"""Help fits 80 columns, names every option and is the same everywhere; mistyped words get a suggestion.

Golden files: tests/golden/help, rewritten by `UPDATE_GOLDEN=1 pytest tests/test_cli_help.py` and reviewed as a diff.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from rerank_cli.cli.app import COMMANDS, load, root
from rerank_cli.errors import ExitCode
from tools.generate.facts import commands, leaves

GOLDEN = Path(__file__).parent / "golden" / "help"
TABLE = commands()
LEAVES = leaves(TABLE)
GROUPS = [command for command in TABLE if command.children]
PAGES = {
    "root": ["--help"],
    "root-short": ["-h"],
    **{group.name: [group.name, "--help"] for group in GROUPS},
    **{leaf.name.replace(" ", "-"): [*leaf.name.split(), "--help"] for leaf in LEAVES},
    **{leaf.name.replace(" ", "-") + "-short": [*leaf.name.split(), "-h"] for leaf in LEAVES},
}


@pytest.mark.parametrize("name", PAGES)
def test_help_matches_its_golden_page_and_fits_80_columns(run, name: str) -> None:
    result = run(*PAGES[name])
    assert (result.code, result.err) == (0, "")
    assert [line for line in result.lines if len(line) > 80] == []
    assert not [line for line in result.lines if line != line.rstrip()]
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(result.text)
    assert result.text == path.read_text()


def test_no_golden_page_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(PAGES)


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_a_group_lists_its_sub_commands(run, group) -> None:
    text = run(group.name, "--help").text
    assert text == run(group.name, "-h").text
    for word in group.words:
        assert re.search(rf"(?m)^  {word} ", text)
    for argv in ([group.name], [group.name, "--json"], [group.name, "--", "--help"]):
        assert run(*argv).code == 2


@pytest.mark.parametrize("leaf", [child for group in GROUPS for child in group.children], ids=lambda leaf: leaf.name)
def test_help_of_a_sub_command_works_in_any_position(run, leaf) -> None:
    group, word = leaf.name.split()
    whole = run(group, word, "--help").text
    for argv in ([group, "--help", word], [group, "--json", "--help", word], [group, word, "--json", "--help"]):
        assert run(*argv).text == whole


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_a_sub_command_takes_the_options_of_its_group_and_shows_its_own(run, group) -> None:
    """`rerank models --threads 4 list` worked when the sub-command was an argument, and still works."""
    every = {option.flags[-1]: option for child in group.children for option in child.options}
    for child in group.children:
        runnable = root().get_command(None, group.name).commands[child.name.split()[1]]
        taken = {flag for option in runnable.options for flag in option.flags}
        assert taken >= set(every)
        text = run(*child.name.split(), "--help").text
        for flag in set(every) - {option.flags[-1] for option in child.options}:
            assert not re.search(rf"(?m)^ .*{flag}\b", text), f"{child.name} shows {flag}"


BEFORE = {
    "an option without a value": ["models", "--json", "list"],
    "an option with a value": ["models", "--threads", "4", "--json", "list"],
    "an attached value": ["models", "--backend=onnx", "list", "--json"],
    "a cluster": ["models", "-vo", "unused", "list", "--json", "--quiet"],
    "options of other sub-commands": ["models", "list", "--form", "int8", "--threads", "2", "--json"],
    "dashes": ["models", "--json", "--", "list"],
}


@pytest.mark.parametrize("argv", BEFORE.values(), ids=BEFORE)
def test_options_before_a_sub_command(run, argv: list[str]) -> None:
    result = run(*argv)
    assert (result.code, result.err) == (0, "")
    assert "builtin" in {row["name"] for row in result.json}


@pytest.mark.parametrize(
    "extra", [{"COLUMNS": "200"}, {"COLUMNS": "20"}, {"FORCE_COLOR": "1"}, {"LC_ALL": "C"}], ids=str
)
def test_help_is_the_same_everywhere(run, extra: dict[str, str]) -> None:
    assert run("rank", "--help", env=extra, tty={"stdout"}).out == run("rank", "--help").out


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.name)
def test_every_option_is_in_the_help_with_words_of_its_own(run, leaf) -> None:
    text = run(*leaf.name.split(), "--help").text
    assert leaf.summary, "a command says what it does"
    for option in leaf.options:
        shown = option.negations if option.default_value is True and option.negations else option.flags
        for flag in shown:
            assert re.search(rf"(?m)^ .*{re.escape(flag)}\b", text), f"{flag} is not in `{leaf.name} --help`"
        assert option.help, f"{flag} has no help"
        assert option.help[0].isupper() or option.help.split(",")[0].split(":")[0].split()[0].islower()
        assert option.help.endswith((".", ")")), f"{option.flags}: {option.help!r} does not end"
    for argument in leaf.arguments:
        assert argument.help, f"{leaf.name} {argument.metavar} has no help"


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.name)
def test_every_command_has_examples_that_parse(leaf) -> None:
    """An example names real options only."""
    known = {flag for option in leaf.options for flag in (*option.flags, *option.negations)} | {"-h", "--help"}
    known |= {flag for other in LEAVES for option in other.options for flag in option.flags}
    assert leaf.examples, f"`{leaf.name}` has no example"
    for line in (line for line in leaf.examples if "rerank " in line):  # `mkdir` comes before one of them
        part = line.partition("#")[0].rpartition("rerank ")[2]
        flags = re.findall(r"(?<=\s)(--?[a-z][\w-]*)", " " + re.sub(r'"[^"]*"', "", part).partition("|")[0])
        assert set(flags) <= known, line


def test_short_options_mean_the_same_in_every_command() -> None:
    """-n is top-n in every command or is not there; a letter never changes its meaning."""
    meaning: dict[str, set[str]] = {}
    for leaf in LEAVES:
        for option in leaf.options:
            for flag in option.flags:
                if len(flag) == 2:
                    meaning.setdefault(flag, set()).add(option.flags[-1])
    assert {flag: names for flag, names in meaning.items() if len(names) > 1 and flag != "-f"} == {}
    assert set(meaning) <= {"-q", "-n", "-m", "-f", "-o", "-v", "-z"}


def test_no_option_is_declared_twice() -> None:
    for name in COMMANDS:
        loaded = load(name)
        for part in list(getattr(loaded, "commands", {}).values()) or [loaded]:
            flags = [flag for option in part.options for flag in (*option.flags, option.negation) if flag]
            assert len(flags) == len(set(flags)), name


def test_choices_are_listed_in_the_help() -> None:
    for leaf in LEAVES:
        for option in leaf.options:
            for choice in option.choices:
                assert choice in option.help, f"{leaf.name} {option.flags[-1]}: `{choice}` is not in its help"


def test_the_root_help_answers_three_questions(run) -> None:
    """How to rank by two fields, get the five best as JSON, fail a CI job when nothing scores above 0.5."""
    text = run("-h").text
    assert "--rank-fields title,body" in text
    assert "-n 5 --json" in text
    assert "--min-score 0.5 --fail-if-empty" in text
    whole = run("--help").text
    for code in ExitCode:
        assert code.meaning.split(",")[0].split("(")[0].strip() in " ".join(whole.split())
    for name in COMMANDS:
        assert re.search(rf"(?m)^  {name} ", whole)


def test_no_arguments_on_a_terminal_show_the_short_help(run) -> None:
    asked = run(tty={"stdin"})
    assert (asked.code, asked.out) == (2, b"")
    assert asked.err == run("-h").text


def test_version_lists_the_backends(run) -> None:
    import rerank_cli

    result = run("--version")
    assert result.code == 0
    assert re.fullmatch(
        rf"rerank {re.escape(rerank_cli.__version__)} \(Python 3\.\d+\.\d+, onnxruntime \S+,"
        r" openvino [^,]+, torch [^,]+, transformers [^,)]+\)\n",
        result.text,
    )


MEANT = {
    "option": (["-q", "x", "--topn", "5"], "unknown option `--topn`\nhint: did you mean `--top-n`?"),
    "option of a command": (["rank", "--rank-field", "a"], "unknown option `--rank-field`\nhint: did you mean `--rank-fields`?"),
    "help": (["--hepl"], "unknown option `--hepl`\nhint: did you mean `--help`?"),
    "format": (["-q", "x", "-f", "jsnol"], "--format: unknown value `jsnol`\nhint: did you mean `json"),
    "input format": (["-q", "x", "--input-format", "jsonlines"], "--input-format: unknown value `jsonlines`\nhint: did you mean `"),
    "fusion": (["-q", "x", "--prior-field", "s", "--fusion", "weigthed"], "--fusion: unknown value `weigthed`\nhint: did you mean `weighted`?"),
    "backend": (["-q", "x", "--backend", "openvno"], "--backend: unknown value `openvno`\nhint: did you mean `openvino`?"),
    "nothing close": (["-q", "x", "-f", "zzz"], "--format: unknown value `zzz`\nhint: choose one of auto, table"),
    "no number": (["-q", "x", "-n", "five"], "--top-n: `five` is not a whole number"),
    "a fraction": (["-q", "x", "-n", "1.5"], "--top-n: `1.5` is not a whole number"),
    "too small": (["-q", "x", "-n", "0"], "--top-n: `0` is too small\nhint: give a whole number of at least 1"),
    "not a number": (["-q", "x", "--min-score", "nan"], "--min-score: `nan` is not a number"),
    "no value": (["-q", "x", "-n"], "-n needs a value"),
    "both json": (["-q", "x", "--json", "-f", "csv"], "--json and -f csv exclude each other"),
    "query and file": (["-q", "x", "--query-file", "f"], "--query and --query-file exclude each other"),
    "command": (["bacth"], "did you mean `rerank batch`?"),
    "command after options": (["-q", "x", "rank"], "`rank` comes after options\nhint: options go after the command: `rerank rank …`"),
    "a query without its flag": (["capital of Nevada"], 'is it the query? `rerank --query "capital of Nevada"`'),
    "model": (["-q", "x", "-m", "bultin"], "did you mean `builtin`?"),
    "sub-command": (["cache", "clera"], "unknown command `cache clera`\nhint: did you mean `clear`?"),
    "no sub-command is close": (["cache", "zzz"], "unknown command `cache zzz`\nhint: choose one of info, verify, clear"),
    "no sub-command": (["models", "--json"], "`COMMAND` is missing\nhint: see `rerank models --help`"),
    "option of a sub-command": (["models", "list", "--jsn"], "unknown option `--jsn`\nhint: did you mean `--json`?"),
    "option of a sub-command that is like no other": (["models", "known", "--zz"], "unknown option `--zz`\nhint: see `rerank models known --help`"),
    "option of another command": (["batch", "--prefilter", "9"], "unknown option `--prefilter`\nhint: it is an option of `rerank rank`, not of `rerank batch`"),
    "a provider without a model": (["-q", "x", "-m", "jina"], "unknown model `jina`\nhint: `jina` is a provider: `-m jina:"),
    "option before a sub-command": (["models", "--jsn", "list"], "unknown option `--jsn`\nhint: did you mean `--json`?"),
    "a choice of another sub-command": (["models", "list", "--form", "fp8"], "--form: unknown value `fp8`"),
    "a model that is missing": (["models", "show"], "`MODEL` is missing\nhint: see `rerank models show --help`"),
    "a model too many": (["models", "list", "builtin"], "(builtin)\nhint: see `rerank models list --help`"),
    "provider": (["-q", "x", "-m", "cohre:rerank-v3.5"], "did you mean `cohere"),
}  # fmt: skip


@pytest.mark.parametrize(("argv", "words"), MEANT.values(), ids=MEANT)
def test_mistakes_on_the_command_line_get_a_suggestion(run, argv: list[str], words: str) -> None:
    result = run(*argv, stdin="a\nb\n", tty={"stdin"} if argv == ["bacth"] else frozenset())
    assert (result.code, result.out) == (3 if argv == ["bacth"] else 2, b"")  # no such file, else a usage error
    assert result.err.startswith("rerank: error: ")
    assert words in result.err


def test_a_file_named_like_an_option_is_read_after_two_dashes(run, tmp_path: Path) -> None:
    path = tmp_path / "--help"
    path.write_text("a document\n")
    result = run("-q", "document", "-f", "lines", "--", path)
    assert (result.code, result.out) == (0, b"a document\n")


def test_errors_have_two_lines_at_most_and_no_traceback(run) -> None:
    for argv, _ in MEANT.values():
        lines = run(*argv, stdin="a\n").err.splitlines()
        assert len(lines) <= 2
        assert not lines[1:] or lines[1].startswith("hint: ")


def test_debug_shows_a_traceback(run) -> None:
    assert "Traceback" in run("-q", "x", "-n", "0", "--debug", stdin="a\n").err
    assert "Traceback" in run("-q", "x", "-n", "0", stdin="a\n", env={"RERANK_DEBUG": "1"}).err
    assert "Traceback" not in run("-q", "x", "-n", "0", stdin="a\n", env={"RERANK_DEBUG": "0"}).err
