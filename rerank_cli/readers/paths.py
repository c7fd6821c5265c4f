"""Paths to the records of a JSON text: `hits.hits[]`, `results[0].hits[]`; in tables `data.*[]` and `data.**.nodes[]`.

Names are separated by dots, `[]` is every element of a list, `[0]` one of them. `*` is any one name and `**` any names;
`expand` turns them into the paths that a value has. It does not know engines, or what a record is used for.
"""

from __future__ import annotations

import re
import shlex
from itertools import chain
from typing import TYPE_CHECKING, Any

from rerank_cli.errors import InputError, did_you_mean
from rerank_cli.fields import lookup, name_list, type_name
from rerank_cli.readers.values import blank_from, value_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    Step = str | int | None  # a name (or names with dots), an element, every element
    Span = tuple[Any, int, int]  # a value and where its text starts and ends

MAX_DEPTH = 8  # of lists that are suggested or stand for `**`
_PATH = re.compile(r"(?:[^\[\]]+|\[\d{0,9}\])+")
_STEP = re.compile(r"\.?([^\[\]]+)|\[(\d*)\]")


def parse_path(text: str) -> tuple[Step, ...]:
    """The steps of a path, which may begin with a dot as in jq. Raises InputError."""
    if text == ".":
        return ()
    trimmed = text.strip().removeprefix(".")
    if not _PATH.fullmatch(trimmed) or ".." in trimmed:
        hint = "names, dots and brackets, as in `--records 'hits.hits[]'`"
        raise InputError(f"`{text}` is not a path of records", hint)
    steps: list[Step] = []
    for name, number in _STEP.findall(trimmed):
        steps.append(name.strip(".") if name else int(number) if number else None)
    return tuple(step for step in steps if step != "")


def has_path(value: Any, path: str, *, if_empty: bool = True) -> bool:
    """Whether a value has a path, null at its end included; of a list the first element counts, else `if_empty`."""
    name, brackets, rest = path.partition("[]")
    if name and not (isinstance(value, dict) and (name in value or lookup(value, name) is not None)):
        return False
    inner = lookup(value, name) if name else value
    if not brackets:
        return True
    if not isinstance(inner, list) or not rest or not inner:
        return isinstance(inner, list) and (not rest or if_empty)
    return has_path(inner[0], rest.removeprefix("."), if_empty=if_empty)


def expand(value: Any, path: str) -> list[str]:
    """The paths of a value that a path with `*` or `**` stands for; they lead to lists of objects or of texts."""
    names = path.split(".")
    at = next((number for number, name in enumerate(names) if name.rstrip("[]") in {"*", "**"}), None)
    if at is None:
        return [path]
    container = lookup(value, ".".join(names[:at])) if at else value
    deep = names[at].startswith("**")
    tail = names[at].lstrip("*") + "".join(f".{name}" for name in names[at + 1 :])
    prefix = "".join(f"{name}." for name in names[:at])
    return [prefix + found for found in _below(container, tail, MAX_DEPTH if deep else 1)]


def _below(container: Any, tail: str, depth: int) -> list[str]:
    """The paths of the nearest lists in an object that end like `tail`: `[]` or `.nodes[]`."""
    level = [("", container)]
    name = tail.partition("[]")[0].removeprefix(".")
    for _ in range(depth):
        objects = [(path, value) for path, value in level if isinstance(value, dict)]
        inner = [(f"{path}{key}", value) for path, found in objects for key, value in found.items()]
        lists = [path for path, value in inner if is_list_of_records(lookup(value, name) if name else value)]
        if lists:
            return [path + tail for path in lists]
        level = [(f"{path}.", value) for path, value in inner]
    return []


def is_list_of_records(value: Any) -> bool:
    """Whether a value is a list of objects or of texts, as far as its first element says; an empty one is."""
    return isinstance(value, list) and (not value or isinstance(value[0], dict | str))


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
    members = dict(_members(text, position))
    names = name.split(".")
    for count in (len(names), *range(1, len(names))):
        key = ".".join(names[:count])
        if key in members:
            yield members[key], ".".join(names[count:])
            return


def _members(text: str, position: int) -> Iterator[tuple[str, int]]:
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


def missing(value: Any, steps: tuple[Step, ...], path: str, where: str) -> InputError:
    """The error for a path that leads nowhere: the name that is not there, and those that are."""
    names = list(chain.from_iterable(step.split(".") if isinstance(step, str) else [step] for step in steps))
    for number, step in enumerate(names):
        if isinstance(step, str) and isinstance(value, dict):
            if step not in value:
                hint = did_you_mean(step, value) or f"`--records` names a list of these: {name_list(value)}"
                return InputError(f"`{path}` leads nowhere: there is no `{step}`", hint, where)
            value = value[step]
        elif isinstance(value, list) and not isinstance(step, str):
            if len(value) <= (step or 0):
                break
            value = value[step or 0]
        else:
            known = "".join(f".{name}" if isinstance(name, str) else "[]" for name in names[:number])[1:] or "."
            hint = lists_hint(value) or "`.` is the whole, `[]` every element of a list"
            return InputError(f"`{path}` leads nowhere: `{known}` is {type_name(value)}", hint, where)
    return InputError(f"`{path}` leads nowhere: the list has fewer elements", "`[]` names all of them", where)


def lists_hint(value: Any) -> str | None:
    """The option that names the longest list of objects in a value, of texts if it has no text; None without one."""
    found = expand(value, "**[]") if isinstance(value, dict) else []
    lists = {path: items for path in found if isinstance(items := lookup(value, path.removesuffix("[]")), list)}
    if any(items and isinstance(items[0], dict) for items in lists.values()):
        lists = {path: items for path, items in lists.items() if items and isinstance(items[0], dict)}
    elif lists and any(isinstance(item, str) for item in value.values()):
        return None
    longest = max(lists, key=lambda path: len(lists[path]), default=None)
    return f"name the list: `--records {shlex.quote(longest)}`" if longest else None
