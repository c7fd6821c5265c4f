"""Which field was probably meant, and how messages name fields. It knows nothing of documents and scores."""

from __future__ import annotations

import json
import re
import shlex
from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING, Any

from rerank_cli.errors import InputError
from rerank_cli.paths import expand, fields_of, has_path, lookup
from rerank_cli.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rerank_cli.settings import FieldSettings

# Usual names of the text field, compared without case.
LIKELY = (
    "text", "body", "content", "contents", "passage", "page_content", "document", "doc", "chunk", "snippet", "abstract",
    "description", "summary", "message", "answer", "value", "title",
)  # fmt: skip
MAX_NAMES, MAX_KEYS = 12, 200  # names in a message; keys that are compared with a missing one
_OPTION = re.compile(r"`(--(?:text-field|rank-fields)(?: [^`]+)?)`")
TEXT_HINT = 'give it a text, as in `{"text": "…"}`'
EMPTY_HINT = "`--on-missing empty` ranks such documents last, `skip` leaves them out"


def likely_field(missing: str, value: dict[str, Any], *, guess: bool = True) -> str | None:
    """The key that was probably meant: a similar one; to `guess`, a usual name or the one with the longest string.

    Among the first keys only: comparing names is slow, and a document of thousands of fields needs no guess.
    """
    usable = dict(islice(fields_of(value, MAX_KEYS), MAX_KEYS))
    lowered = {key.lower(): key for key in usable}
    if similar := get_close_matches(missing.lower(), lowered, n=1):
        return lowered[similar[0]]
    if not guess:
        return None
    last = {key.rpartition(".")[2]: known for key, known in reversed(lowered.items())}
    for name in LIKELY:
        if known := lowered.get(name) or last.get(name):
            return known
    texts = [key for key, item in usable.items() if isinstance(item, str)]
    return max(texts, key=lambda key: len(usable[key]), default=None)


def name_list(names: Iterable[str]) -> str:
    """Names for a message, in backticks, the first few of them."""
    quoted = [f"`{shown(name)}`" for name in islice(names, MAX_NAMES + 1)]
    return ", ".join(quoted[:MAX_NAMES]) + " …" * (len(quoted) > MAX_NAMES) if quoted else "nothing"


def has_scored_field(value: Mapping[str, Any], fields: FieldSettings) -> bool:
    """Whether an object has a field to score, whatever its value."""
    return any(has_path(value, name) for name in fields.rank_fields or (fields.text_field,))


def missing_field(value: dict[str, Any], fields: FieldSettings, where: str) -> InputError:
    """The error for a record without the field to score."""
    names = fields.rank_fields or (fields.text_field,)
    subject = f"field `{shown(names[0])}` is" if len(names) == 1 else f"all of the fields {name_list(names)} are"
    state = "empty" if all(has_path(value, name) for name in names) else "missing or empty"
    message = f"{subject} {state}; the document has {name_list(map(str, value))}"
    if state == "empty":
        return InputError(message, EMPTY_HINT, where)
    hint = field_hint(fields, likely_fields(fields, value))
    return InputError(message, f"{hint}{'' if hint.endswith('?') else ';'} {EMPTY_HINT}", where)


def likely_fields(fields: FieldSettings, value: dict[str, Any]) -> list[str]:
    """The fields of a record (or of many) that were probably meant to be scored; empty without a guess."""
    names = fields.rank_fields or (fields.text_field,)
    guesses = (likely_field(name, value, guess=False) for name in names[:MAX_NAMES])
    similar = [name for name in guesses if name]
    if len(similar) == len(names) and not any("," in name for name in similar):
        return similar
    likely = likely_field(names[0], value)
    return [likely] if likely else []


def field_hint(fields: FieldSettings, likely: list[str]) -> str:
    """The option that would score these fields."""
    # Rank fields are separated by commas and stripped: a name that holds either is a text field.
    plain = all("," not in name and name == name.strip() for name in likely)
    option = "--rank-fields" if fields.rank_fields and plain else "--text-field"
    names = ",".join(likely)
    if not likely or names != shown(names) or names.startswith("-"):
        return f"name the field to score with `{option}`"
    return f"did you mean `{option} {shlex.quote(names)}`?"


def for_members(hint: str, names: str | None) -> str:
    """A hint for callers that have members instead of options.

    Args:
        hint: as for the command line.
        names: how the caller writes a list of fields to score, with `{}` for the names; None: there is no such member.
    """
    if "--text-field" not in hint and "--rank-fields" not in hint:
        return hint.replace("`--on-missing empty`", '`on_missing="empty"`').replace("`skip`", '`"skip"`')
    return _OPTION.sub(lambda match: f"`{names.format(_listed(match[1]))}`", hint) if names else TEXT_HINT


def _listed(words: str) -> str:
    """The fields that an option names, as JSON and Python write them: `"title", "body"`."""
    option, *values = shlex.split(words)
    fields = values[0].split(",") if values and option == "--rank-fields" else values
    return ", ".join(json.dumps(name, ensure_ascii=False) for name in fields) or '"…"'


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
