"""Generated files are up to date and complete, and the completions work in the real shells."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from rerank_cli.cli.app import root
from rerank_cli.cli.completion_command import FILES
from rerank_cli.cli.sources import Options
from rerank_cli.config import ConfigFile, Role, check_file
from tools.generate.__main__ import ROOT, run
from tools.generate.facts import ENVIRONMENT, commands, leaves, models
from tools.generate.targets import targets

COMPLETIONS = ROOT / "completions"
TABLE = commands()
LEAVES = leaves(TABLE)


def test_the_generated_files_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--check"]) == 0, capsys.readouterr().err


def test_check_names_stale_files_and_writing_updates_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "page.md"
    page.write_text("before\n<!-- generated: exit-codes -->\nold\n<!-- end generated -->\nafter\n")
    (tmp_path / "README.md").write_text("nothing generated here\n")
    assert run(["--check"], tmp_path) == 1
    assert "docs/page.md differs from the option table" in capsys.readouterr().err
    assert run([], tmp_path) == 0
    assert run(["--check"], tmp_path) == 0
    text = page.read_text()
    assert text.startswith("before\n<!-- generated: exit-codes -->\n| code | meaning |")
    assert text.endswith("<!-- end generated -->\nafter\n")
    assert (tmp_path / "README.md").read_text() == "nothing generated here\n"
    assert run(["--wrong"], tmp_path) == 2


@pytest.mark.parametrize(
    "name", [f"completions/{file}" for file in FILES.values()] + ["docs/rerank.1", "docs/reference.md"]
)
def test_every_option_of_every_command_is_in_the_generated_files(name: str) -> None:
    """Completions kept by hand lose half of the options unnoticed."""
    text = targets(ROOT)[name].replace("\\-", "-")
    for command in LEAVES:
        assert command.name.split()[-1] in text
        for option in command.options:
            for flag in (*option.flags, *option.negations):
                fish = f"-l {flag[2:]} " if flag.startswith("--") else f"-s {flag[1:]} "
                written = fish if name.endswith(".fish") else flag
                assert written in text, f"{command.name} {flag} is missing in {name}"


def test_every_variable_of_the_table_is_read_somewhere() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "rerank_cli").rglob("*.py"))
    # Read by huggingface_hub and by tempfile; a name made from the URL's scheme.
    elsewhere = {"HF_TOKEN", "HTTPS_PROXY", "HTTP_PROXY", "TMPDIR"}
    for names, _ in ENVIRONMENT:
        for name in set(names.split(", ")) - elsewhere:
            assert f'"{name}"' in sources, f"{name} is documented, but nothing reads it"


def test_every_key_of_the_sample_is_known() -> None:
    """Uncommented as a whole, docs/rerank.toml is a right user file and names every key of every command."""
    text = (ROOT / "docs" / "rerank.toml").read_text()
    assert tomllib.loads(text) == {}, "as it comes, it sets nothing"
    data = tomllib.loads(re.sub(r"(?m)^#(?=[\w\[\"])", "", text))
    check_file(ConfigFile(ROOT / "docs" / "rerank.toml", Role.USER, data), "rank", Options(root()))
    for command in TABLE:
        for option in (option for leaf in leaves((command,)) for option in leaf.options):
            if option.allowed and command.name not in {"config", "completion"}:
                assert option.name in data or option.key in data.get(command.name, {}), option.name


def test_the_sample_marks_what_a_project_may_not_set() -> None:
    text = (ROOT / "docs" / "rerank.toml").read_text()
    for endpoint in ("endpoint", "trust_remote_code", "header", "cache_path"):
        assert re.search(rf"(?m)^# \(user\) (?:(?!^#\w).)*?^#{endpoint} = ", text, re.DOTALL), endpoint
    assert not re.search(r"(?m)^# \(user\)[^\n]*\n#(top_n|format|model|rank_fields) = ", text)


# --- the real shells


def bash(*words: str, cwd: Path) -> list[str]:
    """What the bash script answers for a command line whose last word is being typed; words are cut as bash cuts them."""
    cut = [
        piece
        for word in words
        for piece in (re.split(r"([:=])", word) if word.startswith("-") or ":" in word else [word])
    ]
    listed = " ".join("'" + piece + "'" for piece in [piece for piece in cut[:-1] if piece] + cut[-1:])
    code = f"source {COMPLETIONS / 'rerank.bash'}; COMP_WORDS=({listed}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1))\n"
    code += '_rerank 2>/dev/null; for word in "${COMPREPLY[@]}"; do printf "%s\\n" "$word"; done'
    done = subprocess.run(["bash", "--norc", "-c", code], capture_output=True, cwd=cwd, check=True, timeout=20)
    assert done.stderr == b""
    return done.stdout.decode().splitlines()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("docs.jsonl", "data.csv", "ranking.txt", "two words.txt", "a*b.txt"):
        (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()
    return tmp_path


FORMATS = next(option for option in TABLE[0].options if option.name == "format").choices

BASH = {
    "commands and files": (["rerank", "ra"], {"rank", "ranking.txt"}),
    "everything": (["rerank", ""], {command.name for command in TABLE} | {"docs.jsonl", "two words.txt", "a*b.txt", "sub"}),
    "options of rank at the root": (["rerank", "--top"], {"--top-n"}),
    "version at the root only": (["rerank", "--ver"], {"--version", "--verbose"}),
    "options of a command": (["rerank", "rank", "--long"], {"--long-documents"}),
    "options after values": (["rerank", "-q", "x", "--keep"], {"--keep-order"}),
    "choices": (["rerank", "-f", "js"], {"json", "jsonl"}),
    "all choices": (["rerank", "--format", ""], set(FORMATS)),
    "choices after =": (["rerank", "--format=js"], {"json", "jsonl"}),
    "all choices after =": (["rerank", "--format="], set(FORMATS)),
    "choices of a command": (["rerank", "rank", "--fusion", "w"], {"weighted"}),
    "a query is anybody's guess": (["rerank", "-q", "d"], set()),
    "a file for an option": (["rerank", "--query-file", "d"], {"docs.jsonl", "data.csv"}),
    "files": (["rerank", "-q", "x", "d"], {"docs.jsonl", "data.csv"}),
    "a blank in a name": (["rerank", "rank", "two"], {"two words.txt"}),
    "a star in a name": (["rerank", "rank", "a"], {"a*b.txt"}),
    "files after --": (["rerank", "-q", "x", "--", "d"], {"docs.jsonl", "data.csv"}),
    "models": (["rerank", "-m", "b"], {"builtin"}),
    "providers": (["rerank", "-m", "silic"], {"siliconflow:"}),
    "known rerankers": (["rerank", "-m", "BAAI/bge-reranker-b"], {"BAAI/bge-reranker-base"}),
    "local models only": (["rerank", "doctor", "-m", ""], {"builtin"}),
    "doctor's too": (["rerank", "doctor", "--model="], {"builtin"}),
    "providers after a colon": (["rerank", "-m", "cohere:"], set()),
    "an argument that is a command": (["rerank", "config", "ra"], {"rank"}),
    "an argument with choices": (["rerank", "completion", ""], {"bash", "zsh", "fish"}),
    "an argument that is a provider": (["rerank", "models", "providers", "coh"], {"cohere", "cohere-v1", "cohere-v2"}),
    "nothing known": (["rerank", "--zzz"], set()),
}  # fmt: skip


@pytest.mark.parametrize(("words", "wanted"), BASH.values(), ids=BASH)
def test_bash_completes(words: list[str], wanted: set[str], folder: Path) -> None:
    got = set(bash(*words, cwd=folder))
    assert got >= wanted if words in (["rerank", ""], ["rerank", "-m", "b"]) else got == wanted


GROUPS = [command for command in TABLE if command.children]


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_bash_knows_sub_commands(group, folder: Path) -> None:
    assert set(bash("rerank", group.name, "", cwd=folder)) == {*group.words, "--help"}
    for child in group.children:
        flags = set(bash(*f"rerank {child.name} --".split(), cwd=folder))
        assert flags == {option.flags[-1] for option in child.options} | {"--help"}


def test_models_and_cache_are_groups() -> None:
    """The tests above loop over what is there."""
    assert {group.name: group.words for group in GROUPS} == {
        "models": ("list", "show", "pull", "verify", "convert", "known", "providers"),
        "cache": ("info", "verify", "clear"),
    }


def test_completion_starts_no_python(folder: Path) -> None:
    """With an empty PATH it still answers: nothing is started but bash itself."""
    code = f"source {COMPLETIONS / 'rerank.bash'}; PATH=/nonexistent; COMP_WORDS=(rerank -f t); COMP_CWORD=2; _rerank; echo ${{COMPREPLY[*]}}"
    done = subprocess.run(
        [shutil.which("bash") or "bash", "--norc", "-c", code], capture_output=True, cwd=folder, check=True
    )
    assert done.stdout.decode().split() == ["table", "tsv", "trec"]


@pytest.mark.parametrize("shell", FILES)
def test_the_scripts_parse(shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    path = COMPLETIONS / FILES[shell]
    done = subprocess.run([shell, "--no-execute" if shell == "fish" else "-n", path], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def fish(line: str, cwd: Path) -> set[str]:
    code = f"source {COMPLETIONS / 'rerank.fish'}; complete -C '{line}'"
    env = {"HOME": str(cwd), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        ["fish", "--no-config", "-c", code], capture_output=True, cwd=cwd, env=env, check=True, timeout=30
    )
    return {row.partition("\t")[0] for row in done.stdout.decode().splitlines()}


FISH = {
    "rerank ra": {"rank", "ranking.txt"},
    "rerank --top": {"--top-n"},
    "rerank rank --fusion ": {"rrf", "weighted"},
    "rerank -q x -f js": {"json", "jsonl"},
    "rerank -q x d": {"docs.jsonl", "data.csv"},
    "rerank completion ": {"bash", "zsh", "fish"},
    "rerank config ra": {"rank"},
    "rerank cache ": {"info", "verify", "clear"},
    "rerank models show --back": {"--backend"},
    "rerank models providers siliconf": {"siliconflow"},
    "rerank models convert --form ": {"fp32", "int8", "openvino"},
}


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
@pytest.mark.parametrize("line", FISH)
def test_fish_completes(line: str, folder: Path) -> None:
    assert fish(line, folder) == FISH[line]


ZSH = """
zmodload zsh/zpty
zpty -b z zsh -f -i
write() { zpty -w z "$1" }
wait_for() { local all= piece; repeat 400; do if zpty -rt z piece; then all+=$piece; else sleep 0.02; fi; [[ $all == *$1* ]] && break; done; REPLY=$all }
write "cd '@FOLDER@'; PS1=; fpath=('@FPATH@' \\$fpath); autoload -Uz compinit; compinit -u -d '@DUMP@'"
write "zstyle ':completion:*' list-colors ''; unsetopt zle_bracketed_paste; LISTMAX=1000; setopt no_beep"
write "collect() { compadd() { [[ \\$1 == -[OAD]* || \\${@[(I)-[OAD]]} -gt 0 ]] && { builtin compadd \\"\\$@\\"; return }; builtin compadd -A found \\"\\$@\\"; print -rl -- \\$found >> '@OUT@'; builtin compadd \\"\\$@\\" } }"
write "zle -C show complete-word answer; answer() { collect; _main_complete; unfunction compadd; print END >> '@OUT@' }; bindkey '^X' show; print READY"
wait_for READY
zpty -w -n z "@LINE@"$'\\x18'
repeat 500; do [[ -f '@OUT@' ]] && grep -q '^END' '@OUT@' && break; sleep 0.02; done
zpty -d z
"""

ZSH_LINES = {
    "rerank ra": {"rank", "ranking.txt"},
    "rerank -q x --top": {"--top-n"},
    "rerank rank --fusion ": {"rrf", "weighted"},
    "rerank -f js": {"json", "jsonl"},
    "rerank completion ": {"bash", "zsh", "fish"},
    "rerank cache ": {"info", "verify", "clear"},
    "rerank models show --back": {"--backend"},
    "rerank models providers siliconf": {"siliconflow"},
    "rerank models convert --form ": {"fp32", "int8", "openvino"},
}


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
@pytest.mark.parametrize("line", ZSH_LINES)
def test_zsh_completes(line: str, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A real interactive zsh completes the line; what it would offer is collected from its compadd."""
    aside = tmp_path_factory.mktemp("zsh")
    text = ZSH
    for name, value in {
        "FOLDER": folder, "FPATH": COMPLETIONS, "DUMP": aside / "dump", "OUT": aside / "out", "LINE": line,
    }.items():  # fmt: skip
        text = text.replace(f"@{name}@", str(value))
    env = {"HOME": str(aside), "PATH": "/usr/bin:/bin", "TERM": "xterm", "LC_ALL": "C.UTF-8"}
    subprocess.run(["zsh", "-f", "-c", text], cwd=folder, env=env, check=True, timeout=60, capture_output=True)
    offered = set((aside / "out").read_text().split("\n"))
    assert offered >= ZSH_LINES[line]
    assert not [word for word in offered if word.startswith("--") and not word.startswith(line.rsplit(maxsplit=1)[-1])]


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
def test_the_man_page_formats_without_a_warning() -> None:
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", ROOT / "docs" / "rerank.1"], capture_output=True, check=True
    )
    assert done.stderr == b""
    assert b"EXIT STATUS" in re.sub(rb".\x08", b"", done.stdout)


@pytest.mark.parametrize("shell", FILES)
def test_rerank_completion_prints_the_same_scripts(run, shell: str) -> None:
    result = run("completion", shell)
    assert (result.code, result.err) == (0, "")
    assert result.text == (COMPLETIONS / FILES[shell]).read_text()


def test_an_unknown_shell_is_refused(run) -> None:
    wrong = run("completion", "fsh")
    assert (wrong.code, wrong.out) == (2, b"")
    assert "did you mean `fish`?" in wrong.err


def test_completed_model_names_are_accepted() -> None:
    assert models()[0] == "builtin"
    assert {"cohere:", "azure:", "jina:", "voyage:", "tei:", "vllm:", "litellm:"} <= set(models())


MODELS_OF = {leaf.name: option.models for leaf in LEAVES for option in leaf.options if option.name == "model"}


@pytest.mark.parametrize("command", MODELS_OF)
def test_providers_are_offered_where_they_are_taken(run, command: str) -> None:
    refused = "local model" in run(*command.split(), "-m", "cohere:x").err
    assert (len(MODELS_OF[command]) == 1) == refused


def test_the_lowest_versions_are_those_of_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {line.replace(">=", "==") for line in project["dependencies"]}
    lines = (ROOT / "tests" / "lowest.txt").read_text().splitlines()
    assert {line for line in lines if line and not line.startswith("#")} == wanted
