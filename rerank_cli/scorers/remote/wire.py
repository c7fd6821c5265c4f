"""Requests to bytes and replies to scores, as the table of providers describes. No network, no keys.

A reply is valid only if it holds exactly one number per document that was sent. The pipeline refuses a number that is
not finite, as it does with any scorer.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import orjson

from rerank_cli import nesting
from rerank_cli.errors import RemoteError, UsageError
from rerank_cli.records import Highlight
from rerank_cli.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rerank_cli.scorers.remote.providers import Provider
    from rerank_cli.scorers.remote.target import Target
    from rerank_cli.settings import Limits

    Clean = Callable[[str], str]

Text = str | dict[str, str]
USUAL_ERRORS = ("message", "detail", "error.message", "error", "error.reason")
INCOMPLETE_HINT = "try again: the provider or a proxy has cut the reply"
DEFAULT_MAX_TOKENS = 4096  # Cohere's own default: not worth sending
MOST_DIGITS = 20  # of a counter in a header; int() has a limit of its own
MAX_MESSAGE = 301  # characters of a provider's message that are shown, the ellipsis included
QUOTED = 1 << 16  # bytes of a body that are searched for something to quote


class BadReplyError(RemoteError):
    """An invalid reply; `document` is the position of the document that it is wrong about, if it is one."""

    def __init__(self, message: str, hint: str | None = None, document: int | None = None) -> None:
        super().__init__(message, hint)
        self.document = document


def constants(target: Target, limits: Limits) -> dict[str, Any]:
    """The part of the body that all requests of a run share."""
    provider = target.provider
    body: dict[str, Any] = {}
    if provider.model and target.model:
        put(body, provider.model, target.named_model)
    for path, value in provider.fixed.items():
        put(body, path, value)
    if provider.max_tokens and limits.max_tokens_per_doc != DEFAULT_MAX_TOKENS:
        put(body, provider.max_tokens, limits.max_tokens_per_doc)
    if provider.max_chunks and limits.max_chunks_per_doc is not None:
        put(body, provider.max_chunks, limits.max_chunks_per_doc)
    if provider.instruction and target.instruction:
        put(body, provider.instruction, target.instruction)
    return _merged(body, target.extra)


def encode(provider: Provider, shared: Mapping[str, Any], query: str, texts: Sequence[Text]) -> bytes:
    """One request body: the shared constants, the query, the documents and their number as `top`."""
    body = _merged({}, shared)
    asked = filled(provider.query_form, {"{query}": query})
    put(body, provider.query, [asked] * len(texts) if provider.query_per_document else asked)
    documents = (
        filled(provider.doc_form, {"{text}": text, "{index}": str(index)}) if isinstance(text, str) else text
        for index, text in enumerate(texts)
    )
    put(body, provider.docs, list(documents))
    if provider.top:
        put(body, provider.top, len(texts))
    try:
        return orjson.dumps(body)
    except (orjson.JSONEncodeError, UnicodeEncodeError) as error:
        raise UsageError(
            f"the request cannot be written as JSON: {error}", "leave out what JSON does not have"
        ) from None


def filled(form: Any, values: Mapping[str, str]) -> Any:
    """A JSON value in whose strings the placeholders are replaced; what replaces them is never searched."""
    if isinstance(form, str):
        return re.sub(r"{\w+}", lambda found: values.get(found[0], found[0]), form)
    if isinstance(form, dict):
        return {name: filled(part, values) for name, part in form.items()}
    return [filled(part, values) for part in form] if isinstance(form, list | tuple) else form


def put(body: dict[str, Any], path: str, value: Any) -> None:
    """Set a dotted path, creating the objects on the way."""
    *parents, last = path.split(".")
    for parent in parents:
        body = body.setdefault(parent, {})
    body[last] = value


def get(value: Any, path: str) -> Any:
    """The value at a dotted path; None if anything on the way is missing or not an object."""
    for part in path.split(".") if path else ():
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _merged(into: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in more.items():
        before = into.get(key)
        into[key] = (
            _merged(dict(before if isinstance(before, dict) else {}), value) if isinstance(value, dict) else value
        )
    return into


def decode(body: bytes, content_type: str, clean: Clean = str) -> Any:
    """The JSON of a reply; `clean` removes secrets from what is quoted of a reply that is not JSON.

    Raises RemoteError: an HTML page, an empty or a truncated body.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return _decode_loosely(body, content_type, error, clean)


def _decode_loosely(body: bytes, content_type: str, error: orjson.JSONDecodeError, clean: Clean) -> Any:
    """Python's parser knows NaN and Infinity, so that the bad score can be named instead of a byte position."""
    try:
        return nesting.loads(body)
    except (ValueError, RecursionError):
        pass
    start = clean(body[:QUOTED].decode("utf-8", "replace")).strip()[:80]
    if not start:
        raise RemoteError("the reply is empty instead of JSON", INCOMPLETE_HINT) from None
    if start.startswith("<") or "html" in content_type:
        hint = "this URL is a web page or a login, not a rerank route: check --endpoint"
        kind = "a page" if not content_type or "json" in content_type else content_type
        raise RemoteError(f"the reply is {kind} instead of JSON: `{start}`", hint) from None
    raise RemoteError(f"the reply is not complete JSON ({error}): `{start}`", INCOMPLETE_HINT) from None


def parse_scores(provider: Provider, payload: Any, n: int) -> list[float]:
    """The scores of a reply, one number per document in the order sent, perhaps NaN or infinite.

    `n` documents were sent. Raises BadReplyError: an index is wrong, missing or repeated, or a score is not a number.
    """
    results = _results(provider, payload)
    if not isinstance(results, list):
        message = find_message(provider, payload)
        raise BadReplyError(
            f"the reply has no {f'`{provider.results}`' if provider.results else 'array'}{message and ': '}{message}"
        )
    scores: list[float | None] = [None] * n
    for item in results:
        index, score = _item(provider, item, n)
        if scores[index] is not None:
            raise BadReplyError("the reply contains a document twice", document=index)
        scores[index] = score
    missing = [i for i, score in enumerate(scores) if score is None]
    if missing:
        hint = "the endpoint drops documents: is a top_n set in the gateway?"
        raise BadReplyError(f"asked for {n} scores and got {n - len(missing)}", hint, missing[0])
    return [score for score in scores if score is not None]


def _results(provider: Provider, payload: Any) -> Any:
    """What stands where the results should be; bare scores get the index that is their position."""
    results = get(payload, provider.results)
    if provider.index_kind == "position" and isinstance(results, list):
        return [{provider.index: index, provider.score: score} for index, score in enumerate(results)]
    return results


def _index(provider: Provider, item: Any) -> Any:
    """The index of a result: a number, unless the provider sends digits and what it sent is something else."""
    index = get(item, provider.index)
    if provider.index_kind != "text" or not isinstance(index, str):
        return index
    return int(index) if index.isascii() and index.isdecimal() and len(index) < MOST_DIGITS else index


def parse_spans(provider: Provider, payload: Any, texts: Sequence[Any]) -> list[tuple[Highlight, ...] | None]:
    """What a reply says answers in each document, in the order sent, as Cohere's v5 does: `relevant_spans`.

    None for a document without the member. Spans that are not in the text, which are code points, are left out.
    """
    found: list[tuple[Highlight, ...] | None] = [None] * len(texts)
    for item in _results(provider, payload):
        spans, index = item.get("relevant_spans"), _index(provider, item)
        if isinstance(spans, list) and isinstance(texts[index], str):
            read = (_span(span, len(texts[index])) for span in spans)
            found[index] = tuple(span for span in read if span)
    return found


def _span(span: Any, length: int) -> Highlight | None:
    if not isinstance(span, dict):
        return None
    start, end, score = span.get("start"), span.get("end"), span.get("score")
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= length:
        return None
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(_double(score)):
        return None
    return Highlight(start, end, _double(score))


def _item(provider: Provider, item: Any, n: int) -> tuple[int, float]:
    if not isinstance(item, dict):
        raise BadReplyError(f"a result is {_type_name(item)} instead of an object")
    index, score = _index(provider, item), get(item, provider.score)
    if isinstance(index, bool) or not isinstance(index, int):
        raise BadReplyError(f"a result has {_type_name(index)} as its `{provider.index}`")
    if not 0 <= index < n:
        raise BadReplyError(f"a result has the {provider.index} {index}, but only {n} documents were sent")
    if isinstance(score, bool) or not isinstance(score, int | float):
        message = f"the {provider.score} of a document is {_type_name(score)} instead of a number"
        raise BadReplyError(message, document=index)
    return index, _double(score)


def _double(score: float) -> float:
    try:
        return float(score)
    except OverflowError:  # a whole number beyond the range of a double
        return math.inf if score > 0 else -math.inf


def _type_name(value: Any) -> str:
    if value is None:
        return "null or missing"
    names = {str: "a string", bool: "a boolean", dict: "an object", list: "an array"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else "not a number")


def find_message(provider: Provider, payload: Any) -> str:
    """The provider's own message in an error body: at the provider's path, else at the usual ones."""
    if isinstance(payload, str):
        return payload
    for path in (*provider.error, *USUAL_ERRORS):
        message = get(payload, path)
        if isinstance(message, list):
            message = "; ".join(str(get(entry, "msg") or get(entry, "message") or entry) for entry in message[:3])
        if isinstance(message, str) and message.strip():
            return message.strip()
    return ""


def error_message(provider: Provider, body: bytes, clean: Clean = str) -> str:
    """The message of an error body, JSON or not, without secrets, on one line and not too long."""
    try:
        message = find_message(provider, orjson.loads(body))
    except orjson.JSONDecodeError:
        message = ""
    return shortened(clean(message or body[:QUOTED].decode("utf-8", "replace")))


def shortened(message: str) -> str:
    """A provider's message on one line and not too long. Remove secrets first: half a secret is one too."""
    return shown(message.strip(), MAX_MESSAGE)


def parse_usage(provider: Provider, payload: Any, headers: Mapping[str, str]) -> dict[str, float]:
    """The counters of a reply by their last name (`search_units`, `total_tokens`); empty if it has none."""
    if provider.usage and provider.usage.startswith("header:"):
        name = provider.usage.removeprefix("header:")
        value = headers.get(name, "")
        counts = value.isascii() and value.isdecimal() and len(value) < MOST_DIGITS
        return {name.removeprefix("x-").replace("-", "_"): int(value)} if counts else {}
    found = get(payload, provider.usage) if provider.usage else None
    usage = found if isinstance(found, dict) else {(provider.usage or "").rpartition(".")[2]: found}
    billed = get(payload, "meta.billed_units")
    usage = usage | billed if isinstance(billed, dict) else usage
    return {
        name: int(value) if value == int(value) else value
        for name, value in usage.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(_double(value))
    }


def parse_warnings(payload: Any) -> list[str]:
    """The provider's warnings, from both documented places; not shortened, secrets not removed yet."""
    lists = [get(payload, "meta.warnings"), get(payload, "warnings")]
    return [w for item in lists if isinstance(item, list) for w in item if isinstance(w, str)]
