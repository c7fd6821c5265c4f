"""Which parts of a document are scored, and how they become text: rank_fields, text field, id, prior score.

It sees parsed values only and knows nothing of files or formats. Two paths give the same answer: `build_document_fast`
handles objects whose scored values are plain strings, and returns None for everything else; `build_document` handles
all, and raises the errors.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from rerank_cli.errors import InputError, did_you_mean
from rerank_cli.field_hints import EMPTY_HINT, missing_field
from rerank_cli.ids import Decimal, id_text, with_decimals
from rerank_cli.paths import is_absent, is_simple, lookup
from rerank_cli.records import Document
from rerank_cli.rendering import bare, dump_yaml, simple_key, yaml_field, yaml_string
from rerank_cli.text import has_surrogates, is_blank, replace_surrogates, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from rerank_cli.records import Source
    from rerank_cli.report import Report
    from rerank_cli.settings import FieldSettings

    FastBuilder = Callable[[Any, int, bytes, Source], Document | None]
    DocumentBuilder = Callable[[Any, str, int, bytes, Source], Document]
    Renderer = Callable[[Any, str], tuple[str, int]]

NO_FIELDS = "has no fields for"
MAX_DEPTH = 200  # of nesting in a field: more is an attack
DOCUMENT_HINT = 'as in `"some text"` or `{"id": "a", "text": "some text"}`'
PRIOR_HINT = "`--prior-field` names the field with the retriever's own score"
_NO_ID = (None, "")
_PLAIN_ID = frozenset({str, int, type(None)})
_new: Callable[..., Document] = partial(tuple.__new__, Document)  # skips the defaults: half the time of Document(...)


def is_beir(value: dict[str, Any]) -> bool:
    """Whether a record has BEIR's layout: `_id`, `title` and `text`, of which one may be null."""
    parts = (value.get("title", 0), value.get("text", 0))
    return "_id" in value and any(parts) and all(part is None or isinstance(part, str) for part in parts)


def title_and_text(record: dict[str, Any]) -> str:
    """What BEIR scores of a record: title and text joined by a blank; a missing one is left out."""
    parts = (record.get("title"), record.get("text"))
    return " ".join(part.strip() for part in parts if isinstance(part, str) and part.strip())


def _parts(present: list[tuple[str, Any]], field_format: str, where: str) -> list[str]:
    """The text of each rank field, as it stands in the document's text."""
    if field_format == "yaml":
        return [yaml_field(name, item, where) for name, item in present]
    parts = [bare(item, where) + "\n" for _, item in present]
    return [*parts[:-1], parts[-1][:-1]]


def make_renderer(fields: FieldSettings, report: Report) -> Renderer:
    """How documents become text: value and `where` in; text and length of its first rank field, in characters, out.

    The length is 0 without rank fields or with only one of them: there is nothing then that a window would lack.
    Null, a missing field and an empty one are the same thing; a document without any of its fields is an empty text.

    Raises:
        InputError: the value is neither an object nor a string, or it is empty and the settings ask for an error.
    """
    names, strict = fields.rank_fields or (fields.text_field,), fields.on_missing == "error"

    def render(value: Any, where: str) -> tuple[str, int]:
        if isinstance(value, str):
            refuse_fields(fields, where, "a plain string")
            if strict and is_blank(value):
                raise InputError("the document is empty", EMPTY_HINT, where)
            return cleaned([("", value)], where)[0][1], 0
        if value is not None and not isinstance(value, dict):
            raise InputError(f"a document is an object or a string, not {type_name(value)}", DOCUMENT_HINT, where)
        if value and fields.join_titles and not fields.rank_fields and is_beir(value):
            return cleaned([("", title_and_text(value))], where)[0][1], 0
        present = [(name, item) for name in names if not is_absent(item := lookup(value, name))]
        if not present:
            if strict:
                raise missing_field(value or {}, fields, where)
            return "", 0
        present = cleaned(present, where)
        if not fields.rank_fields:
            return bare(present[0][1], where), 0
        parts = _parts(present, fields.field_format, where)
        return "".join(parts), len(parts[0]) if len(parts) > 1 else 0

    def cleaned(items: list[tuple[str, Any]], where: str) -> list[tuple[str, Any]]:
        clean = [(replace_surrogates(name), _scrub(item, where)) for name, item in items]
        report.count("replaced_surrogates", int(clean != items))
        return clean

    return render


def build_document(fields: FieldSettings, report: Report) -> DocumentBuilder:
    """How a parsed value becomes a `Document`, whatever its type; takes `(value, where, index, raw, source)`."""
    if fields.builder:
        return fields.builder
    render = make_renderer(fields, report)

    def build(value: Any, where: str, index: int, raw: bytes, source: Source) -> Document:
        text, head = render(value, where)
        raw = b'""' if value is None else raw  # a document that is null is an empty text
        prior = _prior(value, fields.prior_field, where, empty=is_blank(text)) if fields.prior_field else None
        return Document(index, raw, text, source, identity(value, fields.id_fields, raw), head, prior)

    return build


def build_document_fast(fields: FieldSettings) -> FastBuilder:
    """How an object of plain strings becomes a `Document`; None if `build_document` is needed. The readers' hot path.

    Floats are left to `build_document` too: orjson reads integers beyond 64 bits as floats, so the caller parses again.
    """
    known = all(map(is_simple, (*fields.id_fields, *fields.rank_fields, fields.text_field)))
    if fields.builder or fields.prior_field or not known:
        return lambda *_: None
    build = (
        _build_from_fields(fields)
        if fields.rank_fields
        else _build_from_text(fields.text_field, fields.id_fields, join_titles=fields.join_titles)
    )
    if fields.on_missing != "error":
        return build

    def build_text(*arguments: Any) -> Document | None:
        document = build(*arguments)
        return None if document is None or is_blank(document.text) else document

    return build_text


def _build_from_text(name: str, ids: tuple[str, ...], *, join_titles: bool) -> FastBuilder:
    def build_fast(value: Any, index: int, raw: bytes, source: Source) -> Document | None:
        text = value.get(name)
        if type(text) is not str:
            return None
        if join_titles and "_id" in value:
            title = value.get("title", 0)  # as `is_beir` and `title_and_text`, in a third of the time
            if title is None or type(title) is str:
                text = f"{(title or '').strip()} {text.strip()}".strip()
        for field in ids:
            known = value.get(field)
            if known is not None and known != "":
                if type(known) is str:
                    return _new((index, raw, text, source, known, 0, None))
                return _new((index, raw, text, source, str(known), 0, None)) if type(known) is int else None
        return _new((index, raw, text, source, None, 0, None))

    return build_fast


def _build_from_fields(fields: FieldSettings) -> FastBuilder:
    as_yaml = fields.field_format == "yaml"
    # A key of a mapping is written like a value, but simple ones only; PyYAML writes the others.
    keys = [(name, simple_key(name) if as_yaml else "") for name in fields.rank_fields]
    ids = fields.id_fields

    def build_fast(value: Any, index: int, raw: bytes, source: Source) -> Document | None:
        parts: list[str] = []
        for name, key in keys:
            item = value.get(name)
            if item is None:
                continue
            if type(item) is not str:
                return None
            if not item or item.isspace():
                continue
            scalar = yaml_string(item) if key else item
            if scalar is None or (as_yaml and not key):
                if has_surrogates(name + item):
                    return None
                parts.append(dump_yaml({name: item}))
            else:
                parts.append(f"{key}: {scalar}\n" if as_yaml else item + "\n")
        if not parts or any(type(value.get(field)) not in _PLAIN_ID for field in ids):
            return None
        text = "".join(parts) if as_yaml else "".join(parts)[:-1]
        head = len(parts[0]) if len(parts) > 1 else 0
        known = next((value[field] for field in ids if value.get(field) not in _NO_ID), None)
        return _new((index, raw, text, source, known if known is None else str(known), head, None))

    return build_fast


def _scrub(value: Any, where: str, depth: int = 0) -> Any:
    """The value with every lone surrogate in it replaced, which no encoder or emitter would take."""
    if isinstance(value, str):
        return replace_surrogates(value)
    if depth > MAX_DEPTH:
        hint = "name a field inside it, as in `--text-field outer.inner`"
        raise InputError(f"a field is nested deeper than {MAX_DEPTH} levels", hint, where or None)
    if isinstance(value, dict):
        return {_scrub_key(key): _scrub(item, where, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_scrub(item, where, depth + 1) for item in value]
    return value


def _scrub_key(key: Any) -> Any:
    return replace_surrogates(key) if isinstance(key, str) else key


def refuse_fields(fields: FieldSettings, where: str, what: str) -> None:
    """Raises InputError if options name fields of what has none: plain strings, lines, whole files."""
    option = ""
    if fields.rank_fields:
        option = "--rank-fields " + ",".join(fields.rank_fields)
    elif fields.explicit_text_field and fields.text_field != "text":
        option = f"--text-field {fields.text_field}"
    elif fields.prior_field or fields.records:
        option = f"--prior-field {fields.prior_field}" if fields.prior_field else f"--records {fields.records}"
    if option:
        hint = "give objects (JSONL, JSON, YAML, CSV; see --input-format), or remove the option"
        raise InputError(f"{what} {NO_FIELDS} `{option}`", hint, where)


def type_name(value: Any) -> str:
    """The JSON name of a value's type, with its article, for messages."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number" if isinstance(value, (int, float)) else f"a {type(value).__name__}")


def identity(value: Any, names: tuple[str, ...], raw: bytes = b"") -> str | None:
    """The id of a record: the first of these fields that holds one. `raw` is its JSON text, for decimals."""
    for name in names:
        item = lookup(value, name)
        if isinstance(item, float | dict) and not isinstance(item, Decimal) and raw[:1] == b"{":
            item = lookup(with_decimals(raw), name)
        if (known := id_text(item)) is not None:
            return known
    return None


def _prior(value: Any, name: str, where: str, *, empty: bool) -> float | None:
    """The retriever's score; an empty document needs none, because fusion leaves it last."""
    prior = lookup(value, name)
    if is_absent(prior) and not isinstance(prior, list | dict):
        if empty:
            return None
        keys = value if isinstance(value, dict) else {}
        hint = did_you_mean(name, (shown(str(key)) for key in keys)) or "every document needs the retriever's own score"
        state = "empty" if isinstance(prior, str) else "missing or null"
        raise InputError(f"prior field `{name}` is {state}", hint, where)
    if isinstance(prior, (bool, list, dict)):
        raise InputError(f"prior field `{name}` must be a number, not {type_name(prior)}", PRIOR_HINT, where)
    try:
        number = float(prior)
    except ValueError:
        raise InputError(f"prior field `{name}` is not a number: {shown(prior)!r}", PRIOR_HINT, where) from None
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        what = "NaN" if math.isnan(number) else "infinite, or beyond the range of a double"
        hint = "fusion needs finite scores: leave this document out, or give it the lowest score of the others"
        raise InputError(f"prior field `{name}` is {what}", hint, where)
    return number
