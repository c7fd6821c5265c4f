"""Who may ask and how much: keys, content type, room for one more request, and the body within its size and time.

It sees headers and bytes, never what is asked.
"""

from __future__ import annotations

import asyncio
import hmac
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from rerank_cli.server import http_errors
from rerank_cli.server.http_errors import HttpError, retry_later
from rerank_cli.server.settings import BODIES, BODY_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from starlette.requests import Request

    from rerank_cli.server.settings import ServeSettings

DISCARD_S = 2.0  # how long the rest of a refused body is read, so that the client sees the refusal and not a reset


class ClientDisconnected(Exception):
    """The client hung up."""


class AdmissionControl:
    """Counts what is inside. Used by the event loop's thread only."""

    def __init__(self, settings: ServeSettings, seconds_waiting: Callable[[], float]) -> None:
        self._settings = settings
        self._seconds_waiting = seconds_waiting
        self.inside = 0
        self._bytes = 0
        self.draining = False  # SIGTERM came: what is inside finishes, nothing more comes in

    @contextmanager
    def admit(self, size: int) -> Iterator[Callable[[int], None]]:
        """Room for one request of at most that many bytes, and what takes its true size once that is known.

        Raises HttpError 429 when full, 503 when draining.
        """
        self.refuse_if_draining()
        settings = self._settings
        full = self.inside >= settings.max_queue or self._bytes + size > BODIES * settings.max_body
        if full:
            raise retry_later(
                429, "too many requests are waiting, please wait and try again later", self._seconds_waiting()
            )
        self.inside += 1
        self._bytes += size
        held = size

        def settle(true_size: int) -> None:
            nonlocal held
            self._bytes -= held - true_size
            held = true_size

        try:
            yield settle
        finally:
            self.inside -= 1
            self._bytes -= held

    def refuse_if_draining(self) -> None:
        """Raises HttpError 503 while the server is stopping."""
        if self.draining:
            fault = retry_later(503, "the server is stopping, please try again", 1.0)
            fault.headers["connection"] = "close"
            raise fault


def check_key(headers: Mapping[str, str], keys: tuple[str, ...]) -> None:
    """Raises HttpError 401 unless one of the keys was sent, as a bearer token or in `api-key`.

    Every key is compared in full, in constant time, whichever matches.
    """
    if not keys:
        return
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    sent = bearer or headers.get("api-key") or headers.get("x-api-key") or ""
    if not sent:
        raise HttpError(401, http_errors.NO_KEY, headers={"www-authenticate": "Bearer"})
    given = sent.encode("latin-1")  # as starlette decodes headers
    if not any([hmac.compare_digest(given, key.encode()) for key in keys]):  # noqa: C419 the list compares with all
        raise HttpError(401, http_errors.BAD_KEY, headers={"www-authenticate": "Bearer"})


def check_type(headers: Mapping[str, str]) -> None:
    """Raises HttpError 415 for a body that is not said to be JSON: a form is what a foreign web page could send."""
    kind = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind not in {"application/json", "text/json"} and not kind.endswith("+json"):
        raise HttpError(415, f"content type `{kind[:80]}` is not supported: send application/json")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise HttpError(415, "compressed bodies are not supported")


def announced_size(headers: Mapping[str, str], settings: ServeSettings) -> int:
    """Bytes that a body may take: what it says, else the most allowed. Raises HttpError 413 for more."""
    said = headers.get("content-length")
    if said is None or not said.isdigit():
        return settings.max_body
    if int(said) > settings.max_body:
        raise too_large(settings)
    return int(said)


def too_large(settings: ServeSettings) -> HttpError:
    """The body is beyond the limit. The connection ends, so that the rest of it need not be read."""
    message = f"the body is too large: this server takes at most {settings.max_body} bytes"
    return HttpError(413, message, headers={"connection": "close"})


async def read_body(request: Request, settings: ServeSettings) -> bytes:
    """The whole body. Raises HttpError 413 or 408, or ClientDisconnected if the client hung up."""
    from starlette.requests import ClientDisconnect

    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.stream():
                size += len(part)
                if size > settings.max_body:
                    raise too_large(settings)
                parts.append(part)
    except ClientDisconnect:
        raise ClientDisconnected from None
    except TimeoutError:
        raise HttpError(
            408, f"the body did not arrive within {BODY_S:g} seconds", headers={"connection": "close"}
        ) from None
    return b"".join(parts)


async def discard(request: Request) -> None:
    """Read what is left of a refused body, for a moment and without keeping it."""
    from starlette.requests import ClientDisconnect

    with suppress(TimeoutError, ClientDisconnect, RuntimeError):  # RuntimeError: the stream was read to its end
        async with asyncio.timeout(DISCARD_S):
            async for _ in request.stream():
                pass


async def wait_until_gone(request: Request) -> None:
    """Returns when the client hangs up. Only after its body was read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
