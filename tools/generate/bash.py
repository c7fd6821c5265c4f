"""The bash completion script: static, no Python starts on Tab. Works with bash 3.2 (macOS) and later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.generate.facts import leaves

if TYPE_CHECKING:
    from tools.generate.facts import Command

TEMPLATE = r"""# bash completion for rerank, as `rerank completion bash` prints it. Print it again after an upgrade.
#
# Put it where bash-completion looks: ~/.local/share/bash-completion/completions/rerank
# or load it: source rerank.bash

# What follows an option: `command option` -> words, FILES, FOLDERS or NOTHING; fails for one that takes no value.
_rerank_values() {
    case "$1 $2" in
@VALUES@
        *) return 1 ;;
    esac
}

# The options of a command.
_rerank_options() {
    case "$1" in
@OPTIONS@
    esac
}

# What a command takes beside options: words, FILES or NOTHING.
_rerank_arguments() {
    case "$1" in
@ARGUMENTS@
    esac
}

# Fill COMPREPLY with the words of $1 and, if $2 says so, with files or folders that begin with $3.
_rerank_reply() {
    local line IFS=$'\n'
    while read -r line; do
        COMPREPLY+=("$line")
    done < <(
        compgen -W "${1// /$'\n'}" -- "$3"
        [[ $2 == FILES ]] && compgen -f -- "$3"
        [[ $2 == FOLDERS ]] && compgen -d -- "$3"
    )
    if [[ $2 == F* ]]; then
        compopt -o filenames 2>/dev/null
        # A quoted name is more than compgen understands: readline's own completion then has its turn.
        [[ ${#COMPREPLY[@]} -eq 0 ]] && compopt -o default 2>/dev/null
    fi
    return 0
}

_rerank() {
    local cur=${COMP_WORDS[COMP_CWORD]} at=$((COMP_CWORD - 1)) prefix= command=rank values i
    COMPREPLY=()
    # bash also splits words at : and =: `-m cohere:re` and `--format=js` arrive in pieces. `at` is the option's place.
    if [[ $cur == : ]]; then
        prefix=${COMP_WORDS[at]}:
        cur=
        ((at -= 1))
    elif [[ ${COMP_WORDS[at]} == : ]]; then
        prefix=${COMP_WORDS[at - 1]}:
        ((at -= 2))
    fi
    if [[ $cur == = ]]; then
        cur=
    elif [[ ${COMP_WORDS[at]} == = ]]; then
        ((at -= 1))
    fi
    if [[ $COMP_CWORD -gt 1 ]]; then
        case "${COMP_WORDS[1]}" in
            @COMMANDS@) command=${COMP_WORDS[1]} ;;
        esac
    fi
    case "$command" in
        @GROUPS@)
            if [[ $COMP_CWORD -eq 2 ]]; then
                _rerank_reply "$(_rerank_options "$command")" NOTHING "$cur"
                return 0
            fi
            command="$command ${COMP_WORDS[2]}"
            ;;
    esac
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [[ ${COMP_WORDS[i]} == -- ]]; then
            _rerank_reply "" FILES "$cur"
            return 0
        fi
    done
    if [[ ${COMP_WORDS[at]} == -* ]] && values=$(_rerank_values "$command" "${COMP_WORDS[at]}"); then
        case "$values" in
            NOTHING) ;;
            FILES | FOLDERS) _rerank_reply "" "$values" "$cur" ;;
            *)
                _rerank_reply "$values" NOTHING "$prefix$cur"
                for ((i = 0; i < ${#COMPREPLY[@]}; i++)); do
                    [[ ${COMPREPLY[i]} == *: ]] && compopt -o nospace 2>/dev/null
                    COMPREPLY[i]=${COMPREPLY[i]#"$prefix"}
                    [[ -z ${COMPREPLY[i]} ]] && unset "COMPREPLY[i]" # all of it is typed already
                done
                ;;
        esac
        return 0
    fi
    if [[ $cur == -* ]]; then
        values=$(_rerank_options "$command")
        [[ $COMP_CWORD -eq 1 ]] && values="$values --version"
        _rerank_reply "$values" NOTHING "$cur"
    elif [[ $COMP_CWORD -eq 1 ]]; then
        _rerank_reply "@WORDS@" FILES "$cur"
    else
        values=$(_rerank_arguments "$command")
        case "$values" in
            NOTHING) ;;
            FILES) _rerank_reply "" FILES "$cur" ;;
            *) _rerank_reply "$values" NOTHING "$cur" ;;
        esac
    fi
    return 0
}

complete -F _rerank rerank
"""


def script(table: tuple[Command, ...]) -> str:
    """The whole script."""
    words = [command.name for command in table]
    groups = [command.name for command in table if command.children]
    values = [line for command in leaves(table) for line in value_cases(command)]
    parts = {
        "VALUES": "\n".join(values),
        "OPTIONS": "\n".join(options_case(part) for command in table for part in (command, *command.children)),
        "ARGUMENTS": "\n".join(
            f"        {quoted(leaf.name)}) echo '{arguments_of(leaf)}' ;;" for leaf in leaves(table)
        ),
        "COMMANDS": " | ".join(words),
        "GROUPS": " | ".join(groups),
        "WORDS": " ".join(words),
    }
    text = TEMPLATE
    for name, part in parts.items():
        text = text.replace(f"@{name}@", part)
    return text


def quoted(name: str) -> str:
    """A case pattern that may hold a blank."""
    return f'"{name}"'


def value_cases(command: Command) -> list[str]:
    """One line for all options of a command that take the same."""
    by_value: dict[str, list[str]] = {}
    for option in command.options:
        takes = option.takes
        if takes == "nothing":
            continue
        value = {"file": "FILES", "folder": "FOLDERS", "text": "NOTHING", "model": " ".join(option.models)}.get(takes)
        by_value.setdefault(value or " ".join(option.choices), []).extend(option.flags)
    return [
        f"        {' | '.join(quoted(f'{command.name} {flag}') for flag in flags)}) echo '{value}' ;;"
        for value, flags in by_value.items()
    ]


def options_case(command: Command) -> str:
    """The options (or sub-commands) of one command."""
    flags = [flag for option in command.options for flag in (*option.flags, *option.negations)]
    listed = " ".join([*command.words, *flags, "--help"])
    return f"        {quoted(command.name)}) echo '{listed}' ;;"


def arguments_of(command: Command) -> str:
    """What stands beside the options of a command."""
    if any(argument.files for argument in command.arguments):
        return "FILES"
    return " ".join(word for argument in command.arguments for word in argument.words) or "NOTHING"
