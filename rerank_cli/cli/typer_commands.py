"""Declared commands in Typer's hands: help first, then the options, then the function. It knows no command."""

from __future__ import annotations

import shlex
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup

from rerank_cli.cli import help as help_text
from rerank_cli.cli.params import parameter, with_values
from rerank_cli.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from rerank_cli.cli.command import Command, Group
    from rerank_cli.cli.sources import Call
    from rerank_cli.options import Option

HELP = ("-h", "--help")


class RunnableCommand(TyperCommand):
    """A command in Typer's hands.

    `section` is the top-level command it belongs to, whose section of configuration files counts; `extra` are options
    that are accepted without being used.
    """

    def __init__(self, name: str, command: Command, section: str, extra: tuple[Option, ...] = ()) -> None:
        self.command, self.section = command, section
        own = {one.name for one in command.options}
        self.options = (*command.options, *(one for one in extra if one.name not in own))
        self.bare = frozenset(flag for one in self.options if one.bare for flag in one.flags)
        super().__init__(name, params=[parameter(one) for one in self.options], add_help_option=False)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Serve help before anything is checked, so that it cannot fail; else read the options."""
        from rerank_cli.cli.sources import read

        before = args[: args.index("--")] if "--" in args else args
        if any(flag in before for flag in HELP):
            path = ctx.command_path.strip()
            raise help_text.HelpRequested(help_text.of_command(self.command, path, complete="--help" in before))
        if not self.bare.isdisjoint(args):
            args = with_values(args, self.options)
        texts, rest, _ = self.make_parser(ctx).parse_args(args=list(args))
        if rest:
            ctx.fail(f"Got unexpected extra argument(s) ({' '.join(map(str, rest))})")
        texts = {name: text for name, text in texts.items() if text not in (None, ())}
        for one in self.options:
            if one.required and one.name not in texts:
                raise UsageError(f"`{one.metavar}` is missing", f"see `{ctx.command_path} --help`")
        reread = partial(read, self.section, self.options, texts, ctx.obj, ctx.find_root().command)
        ctx.meta["call"] = replace(reread(), reread=reread)
        return []

    def invoke(self, ctx: Any) -> Any:
        """Run the command; first say which project file does not count and, with -v, which files do."""
        call: Call = ctx.meta["call"]
        values = call.values
        verbosity = -1 if values["quiet"] else values["verbose"]
        terminal = replace(call.terminal, verbosity=verbosity, color=values.get("color", "auto"))
        for path in call.ignored:
            hint = f"--config {shlex.quote(str(path))} obeys it, --no-config is silent"
            terminal.warn(f"the project file {path} belongs to another user and is not obeyed ({hint})")
        if verbosity > 0:
            terminal.detail("configuration: " + ("; ".join(file.shown for file in call.files) or "no file"))
        try:
            return self.command.run(replace(call, terminal=terminal))
        except UsageError as error:
            error.message = self.placed(error.message, call)
            error.args = (error.message,)
            raise

    def placed(self, message: str, call: Call) -> str:
        """A message that begins with an option with a value; if the command line does not have it, with who set it."""
        flag = message.partition(" ")[0]
        option = next((one for one in self.options if flag.removesuffix(":") in one.flags), None)
        if option is None or option.is_flag or not call.is_set(option.name) or call.is_typed(option.name):
            return message
        source = call.sources[option.name]
        if flag.endswith(":"):  # it is about the value
            named = "" if source == option.variable else f"{option.name}: "
            message = named + message.removeprefix(flag).lstrip()
        return f"{source}: {message}"


class RunnableGroup(TyperGroup):
    """A group whose sub-commands accept the options of all of them, before the sub-command's name or after it.

    So `rerank models --json list` works, and a script may pass the same options to every sub-command. Help shows the
    options that a sub-command uses; it ignores the others.
    """

    def __init__(self, name: str, group: Group) -> None:
        self.group, self.options = group, group.options
        commands: dict[str, Any] = {
            word: RunnableCommand(word, each, name, self.options) for word, each in group.commands.items()
        }
        super().__init__(name=name, commands=commands, add_help_option=False)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Move the sub-command's name to the front; serve help before anything is checked."""
        before = args[: args.index("--")] if "--" in args else args
        asked = [word for word in before if word in HELP]
        if asked:
            named = next((word for word in before if word in self.commands), None)
            if named is None:
                raise help_text.HelpRequested(help_text.of_group(self.group, ctx.command_path.strip()))
            words = [named, *asked]
        else:
            parser = TyperCommand(self.name, params=[parameter(one) for one in self.options]).make_parser(ctx)
            parser.allow_interspersed_args = False
            _, rest, _ = parser.parse_args(args=list(args))
            self._check_name(ctx, rest)
            words = [rest[0], *args[: len(args) - len(rest)], *rest[1:]]
        parsed: list[str] = super().parse_args(ctx, words)
        return parsed

    def _check_name(self, ctx: Any, words: list[str]) -> None:
        """Raise UsageError unless the first word is the name of a sub-command."""
        if not words:
            raise UsageError("`COMMAND` is missing", f"see `{ctx.command_path} --help`")
        if words[0] not in self.commands:
            hint = did_you_mean(words[0], self.commands) or "choose one of " + ", ".join(self.commands)
            raise UsageError(f"unknown command `{ctx.info_name} {words[0]}`", hint)
