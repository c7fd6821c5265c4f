"""A whole YAML text: its documents, built straight from the parser's events with YAML 1.2 core types.

PyYAML's own constructor reads `no` as false and `12:30` as 750 and follows aliases without limit; this one keeps such
text as text, counts what aliases expand to before anything is copied, refuses duplicate keys, and knows each
element's line. Dates and other types that JSON lacks stay the text that was written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from rerank_cli.errors import InputError
from rerank_cli.fields import type_name
from rerank_cli.ids import Decimal
from rerank_cli.readers.values import Element, Parsed, decode, json_text, not_a_list
from rerank_cli.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPTH = 200  # of nesting: more is an attack or not a document
EXPANSION = 10_000_000  # characters and nodes that aliases may add, beside ten times the input's length
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_PREFIX = "tag:yaml.org,2002:"
_TEXT_TAGS = frozenset({"str", "timestamp", "binary"})
_CORE = {"null": type(None), "bool": bool, "int": int, "float": float}
_LISTS, _MAPPINGS = frozenset({"seq", "omap", "pairs"}), frozenset({"map", "set"})
_OPEN = object()  # an anchor whose node is not complete yet
_NO_KEY = object()
KEY_HINT = "quote the key if it is a text"
SYNTAX_HINT = "quote texts that hold `: ` or ` #` or begin with a sign; plain text is `--input-format lines`"


@dataclass(slots=True)
class _Frame:
    """A list or mapping that is being filled."""

    value: Any
    anchor: str | None
    weight: int  # of everything before it
    line: int
    key: Any = _NO_KEY
    merges: list[dict[str, Any]] = field(default_factory=list)


class Builder:
    """Values from events. `lines` has, by id of a list near the top, the line of each of its elements."""

    def __init__(self, name: str, length: int) -> None:
        self.name = name
        self.lines: dict[int, list[int]] = {}
        self.documents: list[tuple[Any, int]] = []
        self._stack: list[_Frame] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._weight = 0
        self._expanded = 0
        self._limit = EXPANSION + 10 * length

    def add(self, event: Any) -> None:
        """Take one event; raises InputError."""
        line = event.start_mark.line + 1
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event, line)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._open(event, line)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._close()
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event.anchor or "", line)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._anchors.clear()

    def error(self, message: str, line: int, hint: str | None = None) -> InputError:
        """An error at a line of this input."""
        return InputError(message, hint, f"{self.name}:{line}")

    def _scalar(self, event: Any, line: int) -> None:
        self._weight += 1 + len(event.value)
        top = self._stack[-1] if self._stack else None
        if top and type(top.value) is dict and top.key is _NO_KEY:
            if event.anchor:
                self._anchors[event.anchor] = (event.value, 1 + len(event.value))
            self._set_key(top, event.value, line, plain=event.implicit[0])
            return
        value = self._value(event, line)
        if event.anchor:
            self._anchors[event.anchor] = (value, 1 + len(event.value))
        self._place(value, line)

    def _value(self, event: Any, line: int) -> Any:
        tag, text = event.tag, event.value
        if tag is None or tag == "!":
            return self._number(text, line) if tag is None and event.implicit[0] else text
        short = tag.removeprefix(_PREFIX)
        if short in _TEXT_TAGS and tag != short:
            return text
        value = self._number(text, line)
        if tag == short or short not in _CORE:
            raise self.error(f"unknown tag `{shown(tag)}`", line, "leave the tag out: the value is read as plain YAML")
        if short == "float" and type(value) is int:
            return float(value)
        if not isinstance(value, _CORE[short]) or (short == "int" and isinstance(value, bool)):
            raise self.error(f"{text[:40]!r} is not a valid {short}", line, "leave the tag out")
        return value

    def _number(self, text: str, line: int) -> Any:
        """A plain scalar as core YAML 1.2 reads it; infinities and NaN stay text."""
        if text and text[0] not in "-+.0123456789~nNtTfF":
            return text
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if _INT.fullmatch(text):
            if len(text) > 4000:
                raise self.error("a number of more than 4,000 digits", line, "put it in quotes")
            return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
        if _FLOAT.fullmatch(text):
            number = Decimal(text)
            return text if number in {float("inf"), float("-inf")} else number
        return text

    def _open(self, event: Any, line: int) -> None:
        is_list = isinstance(event, yaml.SequenceStartEvent)
        top = self._stack[-1] if self._stack else None
        if top and type(top.value) is dict and top.key is _NO_KEY:
            raise self.error("a key must be plain text, not a list or mapping", line, KEY_HINT)
        known = _LISTS if is_list else _MAPPINGS
        if event.tag not in {None, "!"} and event.tag.removeprefix(_PREFIX) not in known:
            raise self.error(
                f"unknown tag `{shown(event.tag)}`", line, "leave the tag out: the value is read as plain YAML"
            )
        if len(self._stack) >= DEPTH:
            raise self.error(f"nested deeper than {DEPTH} levels", line, "leave out what is not scored")
        if event.anchor:
            self._anchors[event.anchor] = (_OPEN, 0)
        if top and type(top.value) is list and len(self._stack) <= 2:
            self.lines[id(top.value)].append(line)
        self._stack.append(_Frame([] if is_list else {}, event.anchor, self._weight, line))
        if is_list and len(self._stack) <= 2:
            self.lines[id(self._stack[-1].value)] = []
        self._weight += 1

    def _close(self) -> None:
        frame = self._stack.pop()
        for merged in frame.merges:
            for key, value in merged.items():
                frame.value.setdefault(key, value)
        if frame.anchor:
            self._anchors[frame.anchor] = (frame.value, self._weight - frame.weight)
        self._place(frame.value, frame.line, noted=True)

    def _alias(self, anchor: str, line: int) -> None:
        if anchor not in self._anchors:
            raise self.error(f"unknown alias `*{shown(anchor)}`", line, "quote a text that begins with `*`")
        value, size = self._anchors[anchor]
        if value is _OPEN:
            raise self.error(f"`*{shown(anchor)}` refers to itself", line, "write the value out")
        self._weight += size
        self._expanded += size
        if self._expanded > self._limit:
            raise self.error("the aliases expand to more than ten times the input", line, "write the values out")
        top = self._stack[-1] if self._stack else None
        if top and type(top.value) is dict and top.key is _NO_KEY:
            if isinstance(value, (list, dict)):
                raise self.error("a key must be plain text, not a list or mapping", line, KEY_HINT)
            self._set_key(top, value if isinstance(value, str) else str(value), line, plain=False)
            return
        self._place(value, line)

    def _set_key(self, frame: _Frame, key: str, line: int, *, plain: bool) -> None:
        if key in frame.value:
            raise self.error(f"key `{shown(key)}` appears twice", line, "remove one of the two")
        frame.key = _OPEN if plain and key == "<<" else key

    def _place(self, value: Any, line: int, *, noted: bool = False) -> None:
        if not self._stack:
            self.documents.append((value, line))
            return
        frame = self._stack[-1]
        if type(frame.value) is list:
            if len(self._stack) <= 2 and not noted:
                self.lines[id(frame.value)].append(line)
            frame.value.append(value)
            return
        if frame.key is _OPEN:
            merged = value if isinstance(value, list) else [value]
            if not all(isinstance(item, dict) for item in merged):
                raise self.error("`<<` merges mappings only", line, KEY_HINT)
            frame.merges.extend(merged)
        else:
            frame.value[frame.key] = value
        frame.key = _NO_KEY


def load_yaml(text: str, name: str) -> Builder:
    """All YAML documents of a text; raises InputError with the line."""
    builder = Builder(name, len(text))
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            builder.add(event)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        message = f"not valid YAML: {exc.problem or exc.context}"
        raise InputError(message, SYNTAX_HINT, f"{name}:{mark.line + 1}" if mark else name) from exc
    except yaml.reader.ReaderError as exc:
        line = text.count("\n", 0, exc.position) + 1 if exc.position else 1
        raise InputError(f"not valid YAML: {exc.reason}", SYNTAX_HINT, f"{name}:{line}") from exc
    return builder


def parse_yaml(data: bytes, name: str) -> Parsed:
    """What a YAML text holds: a list, a request, one mapping, or several `---` documents, each of them one document.

    Raises:
        InputError: not YAML, or YAML of another shape, with the line.
    """
    builder = load_yaml(decode(data, name), name)
    documents = [(value, line) for value, line in builder.documents if value is not None]
    if not documents:
        return Parsed({}, lambda: iter(()))
    if len(documents) > 1:
        return Parsed({}, lambda: _elements(documents, name, several=True))
    top, line = documents[0]
    if isinstance(top, list):
        numbered = list(zip(top, builder.lines[id(top)], strict=True))
        return Parsed({}, lambda: _elements(numbered, name))
    if not isinstance(top, dict):
        message = f"YAML input holds a list of documents, a request or `---` documents, not {type_name(top)}"
        raise InputError(message, "plain text is `--input-format lines`", f"{name}:1")
    if "documents" not in top:
        return Parsed(top, lambda: _elements([(top, line)], name))
    listed = top["documents"]
    if not isinstance(listed, list):
        return Parsed(top, lambda: iter(()), error=not_a_list(listed, f"{name}:{line}"))
    # An alias to a list deep inside a document has no lines of its own.
    numbered = list(zip(listed, builder.lines.get(id(listed), [line] * len(listed)), strict=True))
    return Parsed(top, lambda: _elements(numbered, name))


def holds_documents(text: str) -> bool:
    """Whether a text is YAML that `auto` takes as such: a list, a request (also a faulty one), or several mappings."""
    try:
        values = [value for value, _ in load_yaml(text, "").documents if value is not None]
    except InputError:
        return False
    if len(values) == 1:
        top = values[0]
        if not isinstance(top, dict):
            return isinstance(top, list)
        return isinstance(top.get("documents"), list) or {"documents", "query"} <= set(top)
    return bool(values) and all(isinstance(value, dict) for value in values)


def _elements(numbered: list[tuple[Any, int]], name: str, *, several: bool = False) -> Iterator[Element]:
    for value, line in numbered:
        where = f"{name}:{line}"
        if several and isinstance(value, dict) and isinstance(value.get("documents"), list):
            message = "one request of several `---` documents; `rank` takes one request"
            raise InputError(message, "`rerank batch` takes many requests, one per line as JSON", where)
        yield Element(value, json_text(value, where), where)
