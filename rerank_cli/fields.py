"""Which parts of a document are scored, and how they become text: rank_fields, text field, id, prior score.

It sees parsed values only and knows nothing of files or formats. Two paths give the same answer: `build_document_fast`
handles objects whose scored values are plain strings, and returns None for everything else; `build_document` handles
all, and raises the errors.
"""

from __future__ import annotations

import math
from difflib import get_close_matches
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from rerank_cli.errors import InputError, did_you_mean
from rerank_cli.records import Document
from rerank_cli.rendering import bare, dump_yaml, simple_key, yaml_field, yaml_string
from rerank_cli.text import has_surrogates, replace_surrogates, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from rerank_cli.records import Source
    from rerank_cli.report import Report
    from rerank_cli.settings import FieldSettings

    FastBuilder = Callable[[Any, int, bytes, Source], Document | None]
    DocumentBuilder = Callable[[Any, str, int, bytes, Source], Document]
    Renderer = Callable[[Any, str], tuple[str, int]]

# Usual names of the text field, compared without case.
LIKELY = (
    "text", "body", "content", "contents", "passage", "page_content", "document", "doc", "chunk", "snippet", "abstract",
    "description", "summary", "message", "answer", "value", "title",
)  # fmt: skip
MAX_NAMES, MAX_KEYS = 12, 200  # names in a message; keys that are compared with a missing one
MAX_DEPTH = 200  # of nesting in a field: more is an attack
DOCUMENT_HINT = 'as in `"some text"` or `{"id": "a", "text": "some text"}`; plain text is `--input-format lines`'
PRIOR_HINT = "`--prior-field` names the field with the retriever's own score"
_NO_ID = (None, "")
_PLAIN_ID = frozenset({str, int, type(None)})
_new: Callable[..., Document] = partial(tuple.__new__, Document)  # skips the defaults: half the time of Document(...)


def lookup(value: Any, path: str) -> Any:
    """The value at a dotted path, None if there is none; an exact key that contains a dot wins."""
    if not isinstance(value, dict):
        return None
    if path in value:
        return value[path]
    cut = path.find(".")
    while cut > 0:
        inner = value.get(path[:cut])
        result = lookup(inner, path[cut + 1 :]) if isinstance(inner, dict) else None
        if result is not None:
            return result
        cut = path.find(".", cut + 1)
    return None


def has_scored_field(value: Mapping[str, Any], fields: FieldSettings) -> bool:
    """Whether an object has a field to score."""
    return any(lookup(value, name) is not None for name in fields.rank_fields or (fields.text_field,))


def make_renderer(fields: FieldSettings, report: Report) -> Renderer:
    """How documents become text: value and `where` in; text and length of its first rank field, in characters, out.

    The length is 0 without rank fields or with only one of them: there is nothing then that a window would lack.

    Raises:
        InputError: none of the fields is there, or the value is neither an object nor a string.
    """

    def render(value: Any, where: str) -> tuple[str, int]:
        if isinstance(value, str):
            refuse_fields(fields, where, "a plain string")
            return cleaned([("", value)], where)[0][1], 0
        if not isinstance(value, dict):
            raise InputError(f"a document is an object or a string, not {type_name(value)}", DOCUMENT_HINT, where)
        names = fields.rank_fields or (fields.text_field,)
        present = [(name, item) for name in names if (item := lookup(value, name)) is not None]
        if not present:
            raise _missing(value, fields, where)
        present = cleaned(present, where)
        if not fields.rank_fields:
            return bare(present[0][1], where), 0
        if fields.field_format == "yaml":
            parts = [yaml_field(name, item, where) for name, item in present]
        else:
            parts = [bare(item, where) + "\n" for _, item in present]
            parts[-1] = parts[-1][:-1]
        return "".join(parts), len(parts[0]) if len(parts) > 1 else 0

    def cleaned(items: list[tuple[str, Any]], where: str) -> list[tuple[str, Any]]:
        clean = [(replace_surrogates(name), _scrub(item, where)) for name, item in items]
        report.count("replaced_surrogates", int(clean != items))
        return clean

    return render


def build_document(fields: FieldSettings, report: Report) -> DocumentBuilder:
    """How a parsed value becomes a `Document`, whatever its type; takes `(value, where, index, raw, source)`."""
    render = make_renderer(fields, report)

    def build(value: Any, where: str, index: int, raw: bytes, source: Source) -> Document:
        text, head = render(value, where)
        prior = _prior(value, fields.prior_field, where) if fields.prior_field else None
        return Document(index, raw, text, source, _identity(value, fields.id_fields), head, prior)

    return build


def build_document_fast(fields: FieldSettings) -> FastBuilder:
    """How an object of plain strings becomes a `Document`; None if `build_document` is needed. The readers' hot path.

    Floats are left to `build_document` too: orjson reads integers beyond 64 bits as floats, so the caller parses again.
    """
    if fields.prior_field or any("." in name for name in (*fields.id_fields, *fields.rank_fields, fields.text_field)):
        return lambda *_: None
    return _build_from_fields(fields) if fields.rank_fields else _build_from_text(fields.text_field, fields.id_fields)


def _build_from_text(name: str, ids: tuple[str, ...]) -> FastBuilder:
    def build_fast(value: Any, index: int, raw: bytes, source: Source) -> Document | None:
        text = value.get(name)
        if type(text) is not str:
            return None
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
        raise InputError(f"{what} has no fields for `{option}`", hint, where)


def type_name(value: Any) -> str:
    """The JSON name of a value's type, with its article, for messages."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number" if isinstance(value, (int, float)) else f"a {type(value).__name__}")


def likely_field(missing: str, value: dict[str, Any], *, guess: bool = True) -> str | None:
    """The key that was probably meant: a similar one; to `guess`, a usual name or the one with the longest string.

    Among the first keys only: comparing names is slow, and a document of thousands of fields needs no guess.
    """
    usable = [key for key, item in islice(value.items(), MAX_KEYS) if item is not None and isinstance(key, str)]
    lowered = {key.lower(): key for key in usable}
    if similar := get_close_matches(missing.lower(), lowered, n=1):
        return lowered[similar[0]]
    if not guess:
        return None
    for name in LIKELY:
        if name in lowered:
            return lowered[name]
    texts = [key for key in usable if isinstance(value[key], str)]
    return max(texts, key=lambda key: len(value[key]), default=None)


def name_list(names: Iterable[str]) -> str:
    """Names for a message, in backticks, the first few of them."""
    quoted = [f"`{shown(name)}`" for name in islice(names, MAX_NAMES + 1)]
    return ", ".join(quoted[:MAX_NAMES]) + " …" * (len(quoted) > MAX_NAMES) if quoted else "nothing"


def _missing(value: dict[str, Any], fields: FieldSettings, where: str) -> InputError:
    names = fields.rank_fields or (fields.text_field,)
    subject = f"field `{shown(names[0])}` is" if len(names) == 1 else f"all of the fields {name_list(names)} are"
    state = "null" if all(name in value for name in names) else "missing or null"
    return InputError(
        f"{subject} {state}; the document has {name_list(map(str, value))}", field_hint(value, fields), where
    )


def field_hint(value: dict[str, Any], fields: FieldSettings) -> str:
    """The option that names the field of a record that was probably meant."""
    import shlex

    names = fields.rank_fields or (fields.text_field,)
    similar = [likely_field(name, value, guess=False) for name in names[:MAX_NAMES]]
    likely = ",".join(filter(None, similar)) if all(similar) else likely_field(names[0], value)
    option = "--rank-fields" if fields.rank_fields else "--text-field"
    if likely:
        return f"did you mean `{option} {shlex.quote(shown(likely))}`?"
    return f"name the field to score with `{option}`"


def _identity(value: Any, names: tuple[str, ...]) -> str | None:
    for name in names:
        item = lookup(value, name)
        if isinstance(item, str) and item:
            return replace_surrogates(item)
        if isinstance(item, int) and not isinstance(item, bool):
            return str(item)
    return None


def _prior(value: Any, name: str, where: str) -> float:
    prior = lookup(value, name)
    if prior is None:
        keys = value if isinstance(value, dict) else {}
        hint = did_you_mean(name, (shown(str(key)) for key in keys)) or "every document needs the retriever's own score"
        raise InputError(f"prior field `{name}` is missing or null", hint, where)
    if isinstance(prior, str) and not prior.strip():
        raise InputError(f"prior field `{name}` is empty", "every document needs the retriever's own score", where)
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
