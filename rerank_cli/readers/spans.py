"""Where the values that a path leads to stand in a JSON text, so that a record keeps the text that it had.

A path is one of `rerank_cli.paths`: names separated by dots, `[]` for every element of a list, `[0]` for one of them.
It does not know what a record is used for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rerank_cli.errors import UsageError
from rerank_cli.readers.values import elements_in, members_in, value_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rerank_cli.readers.values import Span

    Step = str | int | None  # a name (or names with dots), an element, every element

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
    if isinstance(step, str) and text[position] == "[":  # as in fields, a name means that of every object of a list
        for _, place, _ in elements_in(text, position):
            yield from spans(text, place, steps)
    elif isinstance(step, str):
        for place, left in _member(text, position, step):
            yield from spans(text, place, (left, *rest) if left else rest)
    elif text[position] == "[":
        for number, span in enumerate(elements_in(text, position)):
            if step is None or step == number:
                yield from spans(text, span[1], rest) if rest else (span,)


def _member(text: str, position: int, name: str) -> Iterator[tuple[int, str]]:
    """Where the member of an object is, and what of a dotted name is left; an exact key that contains a dot wins."""
    if text[position] != "{":
        return
    members = {key: place for key, _, place, _ in members_in(text, position)}
    names = name.split(".")
    for count in (len(names), *range(1, len(names))):
        key = ".".join(names[:count])
        if key in members:
            yield members[key], ".".join(names[count:])
            return
