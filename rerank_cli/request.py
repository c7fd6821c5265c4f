"""The members of a rerank request: one table for `rank`, `batch`, `serve` and the OpenAPI description.

A row says how a member is called in JSON, what it may hold, which APIs know it and where its value goes. This module
knows nothing of files, HTTP or the wording of messages: each caller turns a `MemberError` into its own error.
"""

from __future__ import annotations

import json
import math
import re
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from rerank_cli.ids import id_text
from rerank_cli.options import MOST_NUMBER, options_of
from rerank_cli.records import RequestOptions
from rerank_cli.stage_settings import StageSettings
from rerank_cli.text import replace_surrogates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rerank_cli.options import Option
    from rerank_cli.records import Queries

# `file` is the request in a file of `rank` or `batch`; the others are the APIs of the server. `rerank` is Jina's, with
# everything that any client of Cohere sends; `provider` is all others, whose members the server renames to these.
Api = Literal["file", "v1", "v2", "rerank", "tei", "provider"]
# `count` is a whole number of at least 1, `names` a list of field names, `id` a string or a whole number, `negation` a
# boolean that says the opposite of its field, `switch` a string, true or false, `texts` one string or several, as
# `queries`; `count or true` may be false as well. The values of `documents` and `labels` are read elsewhere, `ignored`
# ones are not read.
MemberType = Literal[
    "string",
    "queries",
    "count",
    "number",
    "boolean",
    "negation",
    "switch",
    "count or true",
    "names",
    "texts",
    "id",
    "documents",
    "labels",
    "ignored",
]
Problem = Literal["type", "below minimum", "above maximum", "empty"]

COMMON: tuple[Api, ...] = ("file", "v1", "v2", "rerank", "provider")
LOCAL = frozenset({"tokenizer"})  # stages' options that name a file of this machine: not for whoever sends requests
BOOLEANS = {"true": True, "false": False}


class Member(NamedTuple):
    """One member of the JSON object.

    `field` is the field of `RequestOptions` that gets its value, by default the one of the same name.
    A member without a description is not part of the OpenAPI description.
    """

    name: str
    type: MemberType
    apis: tuple[Api, ...]
    description: str = ""
    field: str = ""
    required: bool = False
    bare: str = ""  # of a switch: what true means
    maximum: float = math.inf  # of a number

    @property
    def minimum(self) -> int:
        """The least number: a count is at least 1, any other number at least 0."""
        return 0 if self.type == "number" else 1


def _of_stage(option: Option) -> Member:
    """The member of a stage's option, which has its name."""
    kinds: dict[type, MemberType] = {int: "count", float: "number", bool: "boolean", str: "string"}
    kind: MemberType = "texts" if option.many else kinds[option.kind]
    if option.bare:
        kind = "count or true" if kind == "count" else "switch"
    most = option.maximum or (MOST_NUMBER if kind == "number" else math.inf)
    description = as_members(option.help)
    return Member(option.name, kind, ("file", "rerank"), description, "stages", bare=option.bare, maximum=most)


def as_members(text: str) -> str:
    """A text about options as one about members: `--half-life` is `half_life`, `--cutoff 50%` is `"cutoff": "50%"`."""

    def in_json(code: re.Match[str]) -> str:
        parts = (
            f'"{name.replace("-", "_")}": {json.dumps(value) if value else "true"}'
            for name, value in _OPTION.findall(code[1])
        )
        return f"`{', '.join(parts)}`"

    return _FLAG.sub(lambda flag: f"`{flag[1].replace('-', '_')}`", _CODE.sub(in_json, text))


_CODE, _FLAG = re.compile(r"`(--[a-z][^`]*)`"), re.compile(r"--([a-z][a-z-]*)")
_OPTION = re.compile(r"--([a-z][a-z-]*)(?: (?!--)(\S+))?")
MEMBERS = (
    Member("model", "string", COMMON, "Any name; the loaded model answers."),
    Member("query", "queries", ("file",), required=True),
    Member("query", "string", ("v1", "v2", "rerank", "tei", "provider"), "What is searched for.", required=True),
    Member("documents", "documents", COMMON, "Strings, or objects with `text` or the rank_fields.", required=True),
    Member("top_n", "count", (*COMMON, "tei"), "Return the N best only."),
    Member(
        "rank_fields",
        "names",
        ("file", "v1", "rerank", "provider"),
        "Keys of object documents to score, in this order.",
    ),
    # LiteLLM and older SDKs send it to v2, where Cohere never documented it.
    Member("return_documents", "boolean", COMMON, "Send the documents back."),
    Member(
        "max_chunks_per_doc",
        "count",
        ("file", "v1", "rerank", "provider"),
        "At most so many windows of a long document.",
    ),
    Member("max_tokens_per_doc", "count", ("file", "v2", "rerank", "provider"), "Cut longer documents (4096)."),
    Member("return_best_chunk", "boolean", ("rerank",), "Say where the best window of a long document is."),
    Member("raw_scores", "boolean", ("rerank", "tei", "provider"), "Logits instead of 0 to 1."),
    Member("use_activation", "negation", ("rerank", "provider"), "vLLM: false returns logits.", field="raw_scores"),
    Member("texts", "documents", ("tei",), "Documents of a TEI request; the reply is a bare array.", required=True),
    Member("truncate", "boolean", ("tei", "provider"), "TEI: false refuses texts beyond the model's window."),
    Member("return_text", "boolean", ("tei",), "TEI: send the texts back.", field="return_documents"),
    Member("priority", "ignored", ("v2", "rerank")),
    Member("relevant_spans", "ignored", ("v2", "rerank")),
    Member("truncation_direction", "ignored", ("tei",)),
    Member("relevance", "labels", ("file",)),  # of the documents, for `eval`
    Member("id", "id", ("file",)),
    Member("query_id", "id", ("file",)),
    *(_of_stage(option) for option in options_of(StageSettings) if option.name not in LOCAL),
    Member("context", "boolean", ("rerank",), "Send the block for a prompt, too."),
    Member(
        "weight", "number", ("file", "rerank"), "Of `recency` and `boost_field` (1).", "stages", maximum=MOST_NUMBER
    ),
)

NAMES = frozenset(member.name for member in MEMBERS)  # of any API


class MemberError(ValueError):
    """A member whose value is not allowed; `value` is the offending one, which may be an element of a list."""

    def __init__(self, member: Member, value: Any, problem: Problem = "type", *, element: bool = False) -> None:
        super().__init__(f"{member.name}: {problem}")
        self.member = member
        self.value = value
        self.problem = problem
        self.element = element


@cache
def members_of(api: Api) -> dict[str, Member]:
    """The members that an API knows, by name."""
    return {member.name: member for member in MEMBERS if api in member.apis}


def read_options(values: Mapping[str, Any], api: Api, *, lenient: bool = False) -> RequestOptions:
    """The options of a request; null counts as absent, and members that the API does not know are passed over.

    `lenient` takes what HTTP clients send: `5.0` as a whole number and `"true"` as a boolean. Raises MemberError: the
    value of a member has the wrong type, is below its minimum or empty.
    """
    fields: dict[str, Any] = {"stages": {}}
    for member in members_of(api).values():
        value = values.get(member.name)
        read = _READERS.get(member.type)
        if value is not None and read is not None:
            into, name = (fields["stages"], member.name) if member.field == "stages" else (fields, member.field)
            into[name or member.name] = read(member, value, lenient)
    return RequestOptions(**fields)


def _string(member: Member, value: Any, _lenient: bool) -> str:
    if not isinstance(value, str):
        raise MemberError(member, value)
    return replace_surrogates(value)


def _queries(member: Member, value: Any, lenient: bool) -> Queries:
    """One query, or several different ones."""
    values = value if isinstance(value, list) else [value]
    queries = tuple(dict.fromkeys(_string(member, each, lenient) for each in values))
    return queries if len(queries) > 1 else "".join(queries)


def _count(member: Member, value: Any, lenient: bool) -> int:
    if lenient and isinstance(value, float) and value.is_integer():  # a whole number, as in JSON Schema
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise MemberError(member, value)
    _check_bounds(member, value)
    return value


def _number(member: Member, value: Any, _lenient: bool) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # noqa: PLR0124 NaN
        raise MemberError(member, value)
    _check_bounds(member, value)
    return float(value)


def _check_bounds(member: Member, value: float) -> None:
    if value < member.minimum:
        raise MemberError(member, value, "below minimum")
    if value > member.maximum:
        raise MemberError(member, value, "above maximum")


def _switch(member: Member, value: Any, lenient: bool) -> str | None:
    """A string, or true for the bare one; false is as good as absent."""
    if isinstance(value, bool):
        return member.bare if value else None
    return _string(member, value, lenient)


def _count_or_true(member: Member, value: Any, lenient: bool) -> int | None:
    """A count, or true for the bare one; false is as good as absent."""
    if isinstance(value, bool):
        return int(member.bare) if value else None
    return _count(member, value, lenient)


def _boolean(member: Member, value: Any, lenient: bool) -> bool:
    if lenient and isinstance(value, str):
        value = BOOLEANS.get(value.lower(), value)
    if not isinstance(value, bool):
        raise MemberError(member, value)
    return value


def _negation(member: Member, value: Any, lenient: bool) -> bool:
    return not _boolean(member, value, lenient)


def _names(member: Member, value: Any, _lenient: bool) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise MemberError(member, value)
    if not value:
        raise MemberError(member, value, "empty")
    for name in value:
        if not isinstance(name, str) or not name:
            raise MemberError(member, name, element=True)
    return tuple(value)


def _texts(member: Member, value: Any, lenient: bool) -> tuple[str, ...]:
    """One text or several; an empty list is as good as absent."""
    values = [value] if isinstance(value, str) else value
    return () if values == [] else _names(member, values, lenient)


def _id(member: Member, value: Any, lenient: bool) -> str:
    known = None if isinstance(value, float) else id_text(value)  # a decimal has lost its text by now
    return _string(member, value, lenient) if known is None else known


_READERS: dict[MemberType, Callable[[Member, Any, bool], Any]] = {
    "string": _string,
    "queries": _queries,
    "count": _count,
    "number": _number,
    "boolean": _boolean,
    "negation": _negation,
    "switch": _switch,
    "count or true": _count_or_true,
    "names": _names,
    "texts": _texts,
    "id": _id,
}
