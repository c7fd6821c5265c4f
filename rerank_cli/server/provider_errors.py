"""What a client gets when a provider fails: its own mistakes as they are, the server's as those of a gateway.

A client can mend its request and can wait for a rate limit. It has no part in the server's key, account and network:
they are a 502, and the server's log has the rest.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from rerank_cli.errors import RemoteError
from rerank_cli.request import as_members
from rerank_cli.scorers.remote.budget import UnitsSpentError
from rerank_cli.server.http_errors import HttpError

if TYPE_CHECKING:
    from rerank_cli.errors import ProviderReply, RerankError

REFUSED = {400: 400, 413: 413, 422: 422, 498: 422}  # the provider's status and ours; 498: Cohere refuses a text
LATE = frozenset({408, 504})
BUSY = {429: 429, 503: 503, 529: 503}


def http_error(error: RerankError, model: str) -> HttpError:
    """The refusal for a failure of a remote model that is served as `model`."""
    if isinstance(error, UnitsSpentError):
        return HttpError(402, f"{model}: {error.message}")  # final, where 429 would be tried again
    if not isinstance(error, RemoteError):
        return HttpError(400, f"invalid request: {as_members(error.message)}")
    reply = error.reply
    if reply is None:
        return HttpError(502, f"{model}: the provider gave no valid answer; the server's log says why")
    if reply.status in REFUSED:
        return HttpError(REFUSED[reply.status], f"{model} refused the request: {reply.message}")
    if reply.status in LATE:
        return HttpError(504, f"{model}: the provider did not answer in time")
    if reply.status in BUSY:
        return HttpError(BUSY[reply.status], f"{model} is busy: {reply.message}", headers=_retry_after(reply))
    what = "refused the server's key or account" if reply.status in {401, 402, 403} else "failed"
    return HttpError(502, f"{model}: the provider {what} ({reply.status}); the server's log says why")


def status_of(error: RerankError) -> str:
    """The provider's status for metrics: `budget` and `none` where it was not asked or did not answer."""
    if isinstance(error, UnitsSpentError):
        return "budget"
    reply = error.reply if isinstance(error, RemoteError) else None
    return str(reply.status) if reply else "none"


def _retry_after(reply: ProviderReply) -> dict[str, str]:
    """The provider's own wait, in whole seconds as clients expect; none where it said nothing."""
    return {} if reply.wait_s is None else {"retry-after": str(max(1, ceil(reply.wait_s)))}
