"""A reply to its payload, or to the right failure with the provider's message, the URL and a hint."""

from __future__ import annotations

import re
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from rerank_cli.errors import ProviderReply, RemoteError
from rerank_cli.scorers.remote import wire
from rerank_cli.scorers.remote.redaction import redact
from rerank_cli.scorers.remote.retries import Transient, is_transient, requested_wait
from rerank_cli.scorers.remote.url import azure_candidates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerank_cli.records import Pair
    from rerank_cli.scorers.remote.client import Reply
    from rerank_cli.scorers.remote.target import Target

# A 400, 413 or 422 with such words is about a limit of the batch, not about one document.
BATCH_LIMIT = re.compile(
    r"batch[ _-]?size|batch (is |was )?too|too many|total max chunks|number of (documents|texts|passages|inputs)"
    r"|(payload|request|body|entity|inputs?|batch)\b.{0,20} too (large|long|big)"
    r"|at most \d+ (documents|texts|passages|inputs|items)|total (number of )?tokens",
    re.IGNORECASE,
)
RATE_LIMITED = frozenset({429, 503})
REFUSED = frozenset({400, 413, 422})  # something is wrong with this request


class TooLarge(Exception):
    """The server refuses this many documents or bytes in one request; retried with half of them."""

    def __init__(self, error: RemoteError) -> None:
        super().__init__(error.message)
        self.error = error


def parse_response(target: Target, reply: Reply) -> tuple[Any, dict[str, str]]:
    """The decoded payload and headers of a success.

    Raises Transient: a status worth a retry; TooLarge: the batch is beyond a limit of the server; RemoteError: anything
    else.
    """
    status = reply.status
    if 200 <= status < 300 and status not in (202, 204):
        return _decoded(target, reply), reply.headers
    message = wire.error_message(target.provider, reply.body, partial(redact, secrets=target.secrets))
    if 300 <= status < 400:
        raise _redirected(target, reply)
    text = f"{_answered(target, status)}{': ' + message if message else ''}"
    wait_s = requested_wait(status, reply.headers)
    answered = ProviderReply(status, message, wait_s)
    error = RemoteError(text, _hint(target, status), refused=status in REFUSED, reply=answered)
    if status == 413 or (status in (400, 422) and BATCH_LIMIT.search(message)):
        raise TooLarge(error)
    if is_transient(status, reply.headers):
        raise Transient(error, wait_s, rate_limited=status in RATE_LIMITED, once=status == 499)
    raise error


def _decoded(target: Target, reply: Reply) -> Any:
    try:
        content_type = reply.headers.get("content-type", "").partition(";")[0]
        return wire.decode(reply.body, content_type, partial(redact, secrets=target.secrets))
    except RemoteError as error:
        failure = error
    raise with_url(target, failure)


def parse_scores(target: Target, payload: Any, pairs: Sequence[Pair]) -> list[float]:
    """The scores of a payload, one per pair that was sent. Raises RemoteError with the URL, the pair and no key."""
    try:
        return wire.parse_scores(target.provider, payload, len(pairs))
    except wire.BadReplyError as error:
        failure = error
    raise with_url(target, failure, None if failure.document is None else pairs[failure.document])


def with_url(target: Target, error: RemoteError, pair: Pair | None = None) -> RemoteError:
    """An error of `wire` with URL and pair, and without secrets.

    Raise it outside the handler: as its `__context__` the original, which may quote a key, would travel along.
    """
    return RemoteError(f"{target.shown_url}: {redact(error.message, target.secrets)}", error.hint, pair)


def _redirected(target: Target, reply: Reply) -> RemoteError:
    """Redirects are not followed: key and documents would go to a place that the user did not name."""
    where = reply.headers.get("location", "").partition("?")[0]
    message = f"{_answered(target, reply.status)} and points to `{redact(where, target.secrets)}`: not followed"
    return RemoteError(message, "if you trust that address, give it with --endpoint")


def _answered(target: Target, status: int) -> str:
    try:
        phrase = f" {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = ""
    return f"{target.provider.shown} at {target.shown_url} answered {status}{phrase}"


def _hint(target: Target, status: int) -> str | None:
    provider = target.provider
    if status == 404 and provider.url_rule == "azure":
        return f"Azure endpoints answer at one of: {azure_candidates(target.url)}"
    hints = {
        202: "the provider expects polling for the result, which rerank does not support",
        401: f"check the key ({', '.join([*provider.keys[:1], '--api-key-env', '--api-key-file'])}) and --auth-header",
        402: "the account is out of credit or has no payment method",
        403: "the key may not use this model or endpoint",
        404: "check the model's name and --endpoint",
        413: "one document is larger than the server accepts",
        429: "lower --concurrency, set --requests-per-minute or --tokens-per-minute, or raise --max-wait",
    }
    return hints.get(status)
