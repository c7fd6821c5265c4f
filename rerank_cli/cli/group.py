"""A command with sub-commands, such as `rerank models`: each sub-command has its own options and its own help."""

from __future__ import annotations

from copy import copy
from typing import Any

from typer.core import TyperGroup

from rerank_cli.cli.help import HelpRequested, of_group
from rerank_cli.cli.option_rules import GENERAL, GROUPS
from rerank_cli.errors import UsageError, did_you_mean

HELP = ("-h", "--help")


class Group(TyperGroup):
    """A group whose sub-commands accept the options of all of them, before the sub-command's name or after it.

    So `rerank models --json list` works, and a script may pass the same options to every sub-command. Help shows the
    options that a sub-command uses; it ignores the others.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        options = options_of(self)
        for command in self.commands.values():
            own = {param.name for param in command.params}
            command.params.extend(ignored(param) for name, param in options.items() if name not in own)
        self.params = [ignored(param) for param in options.values()]

    def get_help_option(self, ctx: Any) -> Any:  # noqa: ARG002 Typer's signature
        """None: `parse_args` serves `-h` and `--help`."""
        return None

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Move the sub-command's name to the front; serve help before anything is checked."""
        before = args[: args.index("--")] if "--" in args else args
        asked = [word for word in before if word in HELP]
        if asked:
            named = next((word for word in before if word in self.commands), None)
            if named is None:
                raise HelpRequested(of_group(self, ctx))
            args = [named, *asked]
        else:
            _, rest, _ = self.make_parser(ctx).parse_args(args=list(args))
            self.check_name(ctx, rest)
            args = [rest[0], *args[: len(args) - len(rest)], *rest[1:]]
        return super().parse_args(ctx, args)

    def check_name(self, ctx: Any, words: list[str]) -> None:
        """Raise UsageError unless the first word is the name of a sub-command."""
        if not words:
            raise UsageError("`COMMAND` is missing", f"see `{ctx.command_path} --help`")
        if words[0] not in self.commands:
            near = did_you_mean(words[0], self.commands)
            hint = near or "choose one of " + ", ".join(self.commands)
            raise UsageError(f"unknown command `{ctx.info_name} {words[0]}`", hint)


def options_of(group: Any) -> dict[str, Any]:
    """The options of all sub-commands by name, in the order of their help groups."""
    found: dict[str, Any] = {}
    for command in group.commands.values():
        for param in command.params:
            if param.param_type_name == "option":
                found.setdefault(param.name, param)
    order = {heading: place for place, heading in enumerate(GROUPS)}
    return dict(sorted(found.items(), key=lambda item: order[item[1].rich_help_panel or GENERAL]))


def ignored(param: Any) -> Any:
    """An option that is checked as ever, but neither shown nor handed to a function."""
    found = copy(param)
    found.hidden, found.expose_value = True, False
    return found
