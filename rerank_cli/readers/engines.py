"""Answers of search engines, vector databases and rerank APIs: which lists in them are documents, and what is scored.

What an answer looks like is data: one row per shape in engines.json, the first that fits counts. A record of an answer
stays as it is; only what is looked up in it changes, so that `title` means `_source.title`. docs/engines.md has the
table. This module knows neither models nor output.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from rerank_cli.paths import expand, lookup

TABLE = Path(__file__).with_name("engines.json")
IDS = frozenset({"id", "_id", "docid"})


class Shape(NamedTuple):
    """How one kind of answer is built.

    Paths are those of `rerank_cli.paths`, and in `records` `*` is any one name, `**` any names.

    Attributes:
        name: whose answer it is.
        answer: paths that the whole must have; none: it is known as a record of a list only.
        records: the path of the records.
        record: names that a record must have to be known outside its answer, as a line or in a list.
        inside: objects in a record whose members count as members of the record; all that are there.
        text: what is scored if there is no `text`: the first of these that is there; `a+b` are several, joined.
        id: the name of the id where it is none of the usual ones.
        score: the engine's own score; distance: one that is low for good documents.
        query: the query of the answer.
        queries: the list that has one element per query.
        columns: members that are columns (lists of equal length), and how they are called in a record.
        refused: what to do about an answer that holds nothing to rank.
        reason: what an error reply says; the first of these that is a text (of a list of errors, that of the first).
    """

    name: str
    answer: tuple[str, ...] = ()
    records: str = ""
    record: tuple[str, ...] = ()
    inside: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    id: str = ""
    score: tuple[str, ...] = ()
    distance: tuple[str, ...] = ()
    query: str = ""
    queries: str = ""
    columns: tuple[tuple[str, str], ...] = ()
    refused: str = ""
    reason: tuple[str, ...] = ()


@cache
def shapes() -> tuple[Shape, ...]:
    """The table, in the order in which shapes are tried."""
    rows = json.loads(TABLE.read_text("utf-8"))
    return tuple(Shape(**{name: _frozen(value) for name, value in row.items()}) for row in rows)


def _frozen(value: Any) -> Any:
    return tuple(value.items()) if isinstance(value, dict) else tuple(value) if isinstance(value, list) else value


def shape_of_answer(value: dict[str, Any]) -> Shape | None:
    """The shape of a whole answer, None if none fits."""
    return next((shape for shape in shapes() if shape.answer and _fits(value, shape)), None)


def _fits(value: dict[str, Any], shape: Shape) -> bool:
    if not all(fits_path(value, path) for path in shape.answer):
        return False
    if not any(fits_path(value, path, if_empty=False) for path in shape.answer):
        return False  # an empty list has any path
    return "*" not in shape.records or bool(expand(value, shape.records))


def fits_path(value: Any, path: str, *, if_empty: bool = True) -> bool:
    """Whether a value has a path, null at its end included; of a list the first element counts, else `if_empty`."""
    name, brackets, rest = path.partition("[]")
    if name and not (isinstance(value, dict) and (name in value or lookup(value, name) is not None)):
        return False
    inner = lookup(value, name) if name else value
    if not brackets:
        return True
    if not isinstance(inner, list) or not rest or not inner:
        return isinstance(inner, list) and (not rest or if_empty)
    return fits_path(inner[0], rest.removeprefix("."), if_empty=if_empty)


def shape_of_record(record: Any) -> Shape | None:
    """The shape of a record outside its answer, None if none fits."""
    if not isinstance(record, dict):
        return None
    fits = (shape for shape in shapes() if shape.record and all(fits_path(record, name) for name in shape.record))
    return next(fits, None)


def members_of_record(record: dict[str, Any], shape: Shape) -> dict[str, Any]:
    """What names mean in a record: members of the objects inside it first, then its own; by shape text, id, score."""
    members: dict[str, Any] = {}
    for path in shape.inside:
        inner = lookup(record, path)
        members |= inner if isinstance(inner, dict) else {}
    members = {**members, **{name: value for name, value in record.items() if name not in members}}
    if members.get("text") is None:
        texts = (_joined(members, path) for path in shape.text)
        if (text := next((text for text in texts if text is not None), None)) is not None:
            members["text"] = text
    if shape.id and IDS.isdisjoint(members) and (known := lookup(members, shape.id)) is not None:
        members["id"] = known
    distance = next((value for path in shape.distance if is_number(value := lookup(members, path))), None)
    if distance is not None:
        members.setdefault("score", -float(distance))
    return members


def paired(value: Any) -> Any:
    """The record of a pair of record and score, as LangChain has them; other values unchanged."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], dict) and isinstance(value[1], int | float):
        return {"score": value[1], **value[0]}
    return value


def is_number(value: Any) -> bool:
    """Whether a value is a number, or a text that reads as one."""
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return False
    return isinstance(value, int | float | str) and not isinstance(value, bool)


def _joined(members: dict[str, Any], names: str) -> str | None:
    """The texts of some members, one per line; None if there is none."""
    texts = [text for name in names.split("+") if (text := _plain(lookup(members, name)))]
    return "\n".join(texts) if texts else None


def _plain(value: Any) -> str | None:
    """A text, or the texts in a list of texts and of content parts (`{"type": "text", "text": …}`)."""
    if isinstance(value, list):
        return "\n".join(filter(None, map(_plain, value))) or None
    if isinstance(value, dict):
        value = value.get("text")
    return value if isinstance(value, str) else None
