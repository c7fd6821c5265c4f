"""The zsh completion function, on `_arguments`: static, with descriptions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.generate.facts import Argument, Command, Option

TEMPLATE = """#compdef rerank
# zsh completion for rerank, as `rerank completion zsh` prints it. Print it again after an upgrade.
#
# Save it as _rerank in a folder of $fpath, before compinit runs.

_rerank_commands() {
  local -a commands=(
@COMMANDS@
  )
  _describe -t commands 'command' commands
}

@FUNCTIONS@

_rerank() {
  local curcontext="$curcontext"
  if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then
    _alternative 'commands:command:_rerank_commands' 'files:file:_files'
    return
  fi
  case $words[2] in
@CASES@
    *)
      _rerank_rank ;;
  esac
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _rerank "$@"
else
  compdef _rerank rerank
fi
"""


def script(table: tuple[Command, ...]) -> str:
    """The whole function file."""
    lines = "\n".join(f"    {single(f'{colon(command.name)}:{plain(command.summary)}')}" for command in table)
    cases = "\n".join(
        f"    {command.name})\n      shift words; (( CURRENT-- ))\n      _rerank_{command.name} ;;" for command in table
    )
    functions = "\n\n".join(text for command in table for text in functions_of(command))
    return TEMPLATE.replace("@COMMANDS@", lines).replace("@CASES@", cases).replace("@FUNCTIONS@", functions)


def functions_of(command: Command) -> list[str]:
    """The function of a command, and of its sub-commands."""
    if not command.children:
        return [function_of(command)]
    words = "\n".join(
        f"      {single(f'{word}:{plain(child.summary)}')}"
        for word, child in zip(command.words, command.children, strict=True)
    )
    cases = "\n".join(
        f"    {word})\n      shift words; (( CURRENT-- ))\n      {name_of(child)} ;;"
        for word, child in zip(command.words, command.children, strict=True)
    )
    chooser = (
        f"{name_of(command)}() {{\n  if (( CURRENT == 2 )); then\n    local -a commands=(\n{words}\n    )\n"
        f"    _describe -t commands 'command' commands\n    return\n  fi\n  case $words[2] in\n{cases}\n  esac\n}}"
    )
    return [*(function_of(child) for child in command.children), chooser]


def name_of(command: Command) -> str:
    """The zsh function of a command."""
    return "_rerank_" + command.name.replace(" ", "_").replace("-", "_")


def function_of(command: Command) -> str:
    """`_arguments` with one specification an option."""
    specs = [spec for option in command.options for spec in option_specs(option)]
    specs.append("'(- *)'{-h,--help}'[Short help, complete help.]'")
    if command.name == "rank":
        specs.append("'(- *)--version[Print the version.]'")
    specs += [argument_spec(argument) for argument in command.arguments]
    body = " \\\n".join(f"    {spec}" for spec in specs)
    return f"{name_of(command)}() {{\n  _arguments -s -S \\\n{body}\n}}"


def option_specs(option: Option) -> list[str]:
    """`'(-n --top-n)'{-n+,--top-n=}'[help]:N: '`."""
    text = "[" + bracketed(plain(option.help)) + "]"
    tail = "" if option.metavar is None else f":{colon(option.metavar)}:{action(option)}"
    names = [named(flag, option) for flag in (*option.flags, *option.negations)]
    if option.many:
        return [single(f"*{name}{text}{tail}") for name in names]
    if len(names) == 1:
        return [single(f"{names[0]}{text}{tail}")]
    excluded = " ".join((*option.flags, *option.negations))
    return [f"{single(f'({excluded})')}{{{','.join(names)}}}{single(text + tail)}"]


def named(flag: str, option: Option) -> str:
    """A flag that takes a value may have it attached: `-n5`, `--top-n=5`."""
    if option.metavar is None:
        return flag
    return flag + ("=" if flag.startswith("--") else "+")


def action(option: Option) -> str:
    """What completes the value."""
    takes = option.takes
    if takes == "model":
        return "(" + " ".join(model.replace(":", "\\:") for model in option.models) + ")"
    return {"choice": f"({' '.join(option.choices)})", "file": "_files", "folder": "_files -/"}.get(takes, " ")


def argument_spec(argument: Argument) -> str:
    """Positional arguments."""
    if argument.words:
        return f"'1:{argument.metavar.strip('[]').lower()}:({' '.join(argument.words)})'"
    return "'*:file:_files'" if argument.files else single(f"*:{colon(argument.metavar.strip('[].'))}: ")


def plain(text: str) -> str:
    """One line without backquotes."""
    return " ".join(text.split()).replace("`", "")


def bracketed(text: str) -> str:
    """Text within `[…]` of a specification."""
    return text.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")


def colon(text: str) -> str:
    """Text before a colon."""
    return text.replace(":", "\\:")


def single(text: str) -> str:
    """A single-quoted zsh word."""
    return "'" + text.replace("'", "'\\''") + "'"
