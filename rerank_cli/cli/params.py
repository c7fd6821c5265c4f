"""Options as Typer parameters, and what their text means: numbers within bounds, choices with did-you-mean.

Typer would hand every value to pydantic, whose import doubles the time of a command that only prints help. So Typer
parses the line into texts and `typed_values` makes values of them. It knows no command and no source but the text.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.core import TyperArgument, TyperOption

from rerank_cli.errors import ConfigError, UsageError, did_you_mean
from rerank_cli.options import MOST_NUMBER
from rerank_cli.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rerank_cli.options import Option

TRUE, FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


def parameter(option: Option) -> Any:
    """The Typer parameter of an option; its value arrives as text, True, a count, or a list of texts."""
    if not option.flags:
        return TyperArgument(
            param_decls=[option.name],
            type_descriptor=None,  # type: ignore[arg-type]  # only Typer's own conversion asks for it
            nargs=-1 if option.many else 1,
            metavar=option.metavar,
        )
    flags = "/".join(filter(None, [option.flags[0], option.negation]))
    return TyperOption(
        param_decls=[option.name, flags, *option.flags[1:]],
        type_descriptor=None,  # type: ignore[arg-type]
        is_flag=option.kind is bool,
        multiple=option.many or option.comma_separated or option.by_model,
        count=option.count,
        metavar=option.metavar,
    )


def with_values(words: list[str], options: Iterable[Option]) -> list[str]:
    """The words of a command line in which options that may stand alone have their values: `--dedupe=exact`."""
    optional = {flag: one for one in options if one.bare for flag in one.flags}
    result: list[str] = []
    for word in words[: words.index("--")] if "--" in words else words:
        before = optional.get(result[-1]) if result else None
        if before and re.fullmatch(before.values, word):
            result[-1] += f"={word}"
        else:
            result.append(word)
    result = [f"{word}={optional[word].bare}" if word in optional else word for word in result]
    return result + (words[words.index("--") :] if "--" in words else [])


def typed_values(values: Mapping[str, Any], options: Mapping[str, Option]) -> dict[str, Any]:
    """Values of the command line or a file in their options' types. Raises UsageError naming the flag."""
    made: dict[str, Any] = {}
    for name, value in values.items():
        option = options[name]
        shown = option.flags[0] if option.flags else option.metavar
        if option.many:
            items = value if isinstance(value, list | tuple) else [value]
            made[name] = tuple(_one(item, option, shown) for item in items)
        else:
            made[name] = _one(_together(value, option) if isinstance(value, list | tuple) else value, option, shown)
    return made


def _together(texts: Sequence[str], option: Option) -> str:
    """The one text of an option that was given several times: lists add up, else the last one counts."""
    return ",".join(texts) if option.comma_separated or any("=" in text for text in texts) else texts[-1]


def from_variable(text: str, option: Option) -> Any:
    """The value of an environment variable; the items of a list are separated by newlines. Raises ConfigError."""
    try:
        if option.many:
            return tuple(_one(item, option, option.variable) for item in text.split("\n"))
        return _one(text, option, option.variable)
    except UsageError as error:
        raise ConfigError(error.message, error.hint) from None


def _one(value: Any, option: Option, name: str) -> Any:
    if option.kind is bool:
        return value if isinstance(value, bool) else _boolean(str(value), name)
    if option.by_model and "=" in str(value):
        return _by_model(str(value), option, name)
    if option.bare and str(value).lower() in TRUE | FALSE:  # files and variables may switch it on and off
        if str(value).lower() in FALSE:
            return None
        value = option.bare
    if option.kind is int or option.kind is float:
        return _number(value, option, name)
    if option.kind is Path:
        return Path(value)
    if option.comma_separated:
        return _names(str(value), name)
    if option.values and not re.fullmatch(option.values, str(value)):
        raise UsageError(f"{name}: unknown value `{shown(str(value), 30)}`", option.help)
    return _choice(str(value), option, name) if option.choices else str(value)


def _boolean(text: str, name: str) -> bool:
    if text.lower() in TRUE | FALSE:
        return text.lower() in TRUE
    raise UsageError(f"{name}: `{text}` is neither true nor false", "write `true` or `false`")


def _number(value: Any, option: Option, name: str) -> int | float:
    """A finite number within the bounds of the option, whole if it is a count of something."""
    what = "a whole number" if option.kind is int else "a number"
    lowest = -MOST_NUMBER if option.minimum is None else option.minimum
    highest = MOST_NUMBER if option.maximum is None else option.maximum
    hint = f"give {what}" + ("" if option.minimum is None else f" of at least {option.minimum:g}")
    try:
        number: int | float = option.kind(value)
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"{name}: `{shown(str(value), 30)}` is not {what}", hint) from None
    if isinstance(number, float) and not math.isfinite(number):
        raise UsageError(f"{name}: `{shown(str(value), 30)}` is not {what}", hint)
    if number < lowest:
        raise UsageError(f"{name}: `{shown(str(value), 30)}` is too small", f"give {what} of at least {lowest:g}")
    if number > highest:
        raise UsageError(f"{name}: `{shown(str(value), 30)}` is too large", f"give {what} of at most {highest:g}")
    return number


def _by_model(text: str, option: Option, name: str) -> dict[str, float]:
    """`builtin=0.3,cohere=0.1` as a mapping."""
    found: dict[str, float] = {}
    for part in text.split(","):
        model, equals, number = (piece.strip() for piece in part.rpartition("="))
        if not (model and equals) or model in found:
            message = f"{name}: `{shown(part.strip(), 60)}` is not a model and its number"
            raise UsageError(message, f"for example `{name} builtin=0.3,cohere=0.1`, each model once")
        found[model] = _number(number, option, name)
    return found


def _choice(text: str, option: Option, name: str) -> str:
    """One of the choices of the option."""
    if text not in option.choices:
        hint = did_you_mean(text, option.choices) or f"choose one of {', '.join(option.choices)}"
        raise UsageError(f"{name}: unknown value `{text}`", hint)
    return text


def _names(text: str, name: str) -> tuple[str, ...]:
    """A comma-separated list of names."""
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise UsageError(f"{name} names no field", f"for example `{name} title,body`")
    return names
