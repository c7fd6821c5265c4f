"""The fish completion script: one `complete` line an option and command."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.generate.facts import Command, Option

HEAD = """# fish completion for rerank, as `rerank completion fish` prints it. Print it again after an upgrade.
#
# Save it as ~/.config/fish/completions/rerank.fish

# The command of the line so far: its first word if that is one, else rank.
function __rerank_command
    set -l words (commandline -opc)
    if set -q words[2]; and contains -- $words[2] {words}
        echo $words[2]
    else
        echo rank
    end
end

# Whether the line is one of this command and, for a group, of this sub-command.
function __rerank_in
    set -l words (commandline -opc)
    test (__rerank_command) = $argv[1]; or return 1
    set -q argv[2]; or return 0
    set -q words[3]; and test $words[3] = $argv[2]
end

# Whether the next word is the first.
function __rerank_first
    test (count (commandline -opc)) -eq 1
end

# Whether a sub-command of this group comes next.
function __rerank_chooses
    __rerank_in $argv[1]; and test (count (commandline -opc)) -eq 2
end
"""


def script(table: tuple[Command, ...]) -> str:
    """The whole script."""
    lines = [HEAD.replace("{words}", " ".join(command.name for command in table))]
    lines += [f"complete -c rerank -n __rerank_first -a {each.name} -d {quoted(each.summary)}" for each in table]
    lines.append("complete -c rerank -n __rerank_first -l version -d 'Print the version.'")
    for command in table:
        lines.append(f"\n# {command.name}")
        for word, child in zip(command.words, command.children, strict=True):
            lines.append(
                f"complete -c rerank -f -n '__rerank_chooses {command.name}' -a {word} -d {quoted(child.summary)}"
            )
        for part in command.children or (command,):
            lines += lines_of(part)
    return "\n".join(lines) + "\n"


def lines_of(command: Command) -> list[str]:
    """The options and arguments of one command."""
    where = f"complete -c rerank -n '__rerank_in {command.name}'"
    lines = [f"{where} -s h -l help -d 'Short help, complete help.'"]
    lines += [f"{where} {line}" for option in command.options for line in option_lines(option)]
    words = [word for argument in command.arguments for word in argument.words]
    if words:
        lines.append(f"{where} -f -a '{' '.join(words)}'")
    elif not any(argument.files for argument in command.arguments):
        lines.append(f"{where} -f")
    return lines


def option_lines(option: Option) -> list[str]:
    """`-s n -l top-n -x -d help`."""
    names = " ".join(
        f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in (*option.flags, *option.negations)
    )
    values = {
        "nothing": "",
        "choice": f" -x -a '{' '.join(option.choices)}'",
        "model": f" -x -a '{' '.join(option.models)}'",
        "file": " -r -F",
        "folder": " -x -a '(__fish_complete_directories)'",
        "text": " -x",
    }
    return [f"{names}{values[option.takes]} -d {quoted(option.help)}"]


def quoted(text: str) -> str:
    """A single-quoted fish word, on one line."""
    plain = " ".join(text.split()).replace("`", "")
    return "'" + plain.replace("\\", "\\\\").replace("'", "\\'") + "'"
