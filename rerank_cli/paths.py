"""Dotted paths into parsed values: `meta.title` reaches nested objects, `labels.name` every object of a list.

`comments[].body` may say that `comments` is a list, and `comments[0].body` is the one of its first element. It knows
values only: no options, no documents, no files.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any

from rerank_cli.text import is_blank

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH = 3  # of nested objects whose keys are named in messages
LIST_DEPTH = 8  # of lists that are suggested, or that `**` stands for
_BRACKETS = re.compile(r"((?:\[\d{0,9}\])+)$")
_NOTHING = object()


def is_absent(value: Any) -> bool:
    """Whether a value holds nothing to score: null, a blank string, an empty list or object are the same thing."""
    if value is None or (isinstance(value, str) and is_blank(value)):
        return True
    if isinstance(value, list | tuple):
        return all(item is None or (isinstance(item, str) and is_blank(item)) for item in value)
    return isinstance(value, dict) and not value


def is_simple(path: str) -> bool:
    """Whether a path can only be a key: nothing in it reaches into a value."""
    return "." not in path and not path.endswith("]")


def last_key(path: str) -> str:
    """The last key of a path, without brackets."""
    return _BRACKETS.sub("", path.rpartition(".")[2])


def lookup(value: Any, path: str) -> Any:
    """The value at a path, None if there is none; of a list of objects, the list of their values.

    An exact key that contains a dot wins.
    """
    found = _find(value, path)
    return None if found is _NOTHING else found


def has_path(value: Any, path: str) -> bool:
    """Whether a record has a field, whatever its value. Null or an empty list on the way does not speak against it."""
    return _find(value, path) is not _NOTHING


def _find(value: Any, path: str) -> Any:
    """The value at a path; `_NOTHING` if the record has no such field."""
    if isinstance(value, list):
        return _find_in_each(value, path)
    if not isinstance(value, dict):
        return _NOTHING
    if path in value:
        return value[path]
    unknown: Any = _NOTHING
    cut = path.find(".")
    while cut != -1:
        inner = _member(value, path[:cut])
        found = None if inner is None else _find(inner, path[cut + 1 :])
        if found is None:
            unknown = None
        elif found is not _NOTHING:
            return found
        cut = path.find(".", cut + 1)
    return _member(value, path) if unknown is _NOTHING and path.endswith("]") else unknown


def _member(value: dict[str, Any], name: str) -> Any:
    """A member by its key; `[]` and `[0]` at its end are not a part of it unless a key is spelt so."""
    if name in value or not name.endswith("]"):
        return value.get(name, _NOTHING) if name else _NOTHING
    key = last_key(name)
    found = value.get(key, _NOTHING)
    for number in re.findall(r"\d+", name[len(key) :]):
        if not isinstance(found, list):
            return _NOTHING
        found = found[int(number)] if int(number) < len(found) else None
    return found


def _find_in_each(values: list[Any], path: str) -> Any:
    """What the objects of a list have at a path, lists of it joined; None if all of it is null or the list is empty."""
    found = [_find(value, path) for value in values if isinstance(value, dict)]
    known = [item for item in found if item is not _NOTHING]
    if not known:
        return _NOTHING if values else None
    items = [item for each in known for item in (each if isinstance(each, list) else [each]) if not is_absent(item)]
    return items or None


def fields_of(value: dict[str, Any], most: int, depth: int = MAX_DEPTH) -> Iterator[tuple[str, Any]]:
    """The fields of a record that are not absent, by path: those of nested objects come after its own."""
    nested: list[tuple[str, dict[str, Any]]] = []
    for key, item in islice(value.items(), most):
        if not isinstance(key, str) or is_absent(item):
            continue
        if isinstance(item, dict):
            nested.append((key, item))
        else:
            yield key, item
    for key, item in nested:
        yield key, item
        if depth > 1:
            yield from ((f"{key}.{path}", inner) for path, inner in fields_of(item, most, depth - 1))


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
    return [prefix + found for found in _below(container, tail, LIST_DEPTH if deep else 1)]


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
