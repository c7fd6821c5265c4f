"""Dotted paths into parsed records: `meta.title` reaches nested objects, `labels.name` every object of a list.

It knows values only: no options, no documents, no files.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from rerank_cli.text import is_blank

if TYPE_CHECKING:
    from collections.abc import Iterator

EACH = "[]"  # `comments[].body` may say that `comments` is a list
MAX_DEPTH = 3  # of nested objects whose keys are named in messages
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
    return "." not in path and EACH not in path


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
    return _member(value, path) if unknown is _NOTHING and path.endswith(EACH) else unknown


def _member(value: dict[str, Any], name: str) -> Any:
    """A member by its key, of which `[]` at the end is not a part unless a key is spelt so."""
    return value.get(name, value.get(name.removesuffix(EACH), _NOTHING)) if name else _NOTHING


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
