"""Where the values that a path leads to stand in a JSON text, so that a record keeps the text that it had.

A path is one of `rerank_cli.paths`: names separated by dots, `[]` for every element of a list, `[0]` for one of them.
It does not know what a record is used for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rerank_cli.errors import UsageError
from rerank_cli.readers.values import blank_from, value_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    Step = str | int | None  # a name (or names with dots), an element, every element
    Span = tuple[Any, int, int]  # a value and where its text starts and ends

_PATH = re.compile(r"(?:[^\[\]]+|\[\d{0,9}\])+")
_STEP = re.compile(r"\.?([^\[\]]+)|\[(\d*)\]")


def parse_path(text: str) -> tuple[Step, ...]:
    """The steps of a path, which may begin with a dot as in jq. Raises UsageError."""
    if text == ".":
        return ()
    trimmed = text.strip().removeprefix(".")
    if not _PATH.fullmatch(trimmed) or ".." in trimmed:
        hint = "names, dots and brackets, as in `--records 'hits.hits[]'`"
        raise UsageError(f"--records: `{text}` is not a path", hint)
    steps: list[Step] = []
    for name, number in _STEP.findall(trimmed):
        steps.append(name.strip(".") if name else int(number) if number else None)
    return tuple(step for step in steps if step != "")


def spans(text: str, position: int, steps: tuple[Step, ...]) -> Iterator[Span]:
    """The values that a path leads to, with their places in a text that is known to be valid JSON."""
    if not steps:
        value, end = value_at(text, position)
        yield value, position, end
        return
    step, rest = steps[0], steps[1:]
    if isinstance(step, str):
        for place, left in _member(text, position, step):
            yield from spans(text, place, (left, *rest) if left else rest)
    elif text[position] == "[":
        for number, place in enumerate(_elements(text, position)):
            if step is None or step == number:
                yield from spans(text, place, rest)


def _member(text: str, position: int, name: str) -> Iterator[tuple[int, str]]:
    """Where the member of an object is, and what of a dotted name is left; an exact key that contains a dot wins."""
    if text[position] != "{":
        return
    members = dict(members_at(text, position))
    names = name.split(".")
    for count in (len(names), *range(1, len(names))):
        key = ".".join(names[:count])
        if key in members:
            yield members[key], ".".join(names[count:])
            return


def members_at(text: str, position: int) -> Iterator[tuple[str, int]]:
    """Each key of an object, and where its value is."""
    position = blank_from(text, position + 1)
    while text[position] != "}":
        key, position = value_at(text, position)
        position = blank_from(text, blank_from(text, position) + 1)
        yield key, position
        position = _next(text, value_at(text, position)[1])


def _elements(text: str, position: int) -> Iterator[int]:
    """Where each element of a list is."""
    position = blank_from(text, position + 1)
    while text[position] != "]":
        yield position
        position = _next(text, value_at(text, position)[1])


def _next(text: str, end: int) -> int:
    """The place after a comma, or of the closing bracket."""
    position = blank_from(text, end)
    return blank_from(text, position + 1) if text[position] == "," else position
