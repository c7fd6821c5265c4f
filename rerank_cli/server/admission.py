"""What a request must pass before it is read: keys, content type, a free place, and limits on its body's size and time.

This module sees headers and bytes, never the members of a request.
"""

from __future__ import annotations

import asyncio
import hmac
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from rerank_cli.server import http_errors
from rerank_cli.server.http_errors import HttpError, retry_later
from rerank_cli.server.settings import BODIES, BODY_S, FAILED_KEY_S, FAILED_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from starlette.requests import Request

    from rerank_cli.server.settings import ServeSettings

DISCARD_S = 2.0  # seconds to read the rest of a refused body, so that the client gets the refusal, not a reset


class AdmissionControl:
    """Counts the requests in progress and their bytes. Used by the event loop's thread only."""

    def __init__(self, settings: ServeSettings, seconds_waiting: Callable[[], float]) -> None:
        self.settings = settings
        self._seconds_waiting = seconds_waiting
        self.active = 0
        self._wrong_keys = 0  # requests with one, not yet refused
        self._bytes = 0
        self.draining = False  # after SIGTERM: requests in progress finish, new ones are refused

    @contextmanager
    def admit(self, size: int) -> Iterator[Callable[[int], None]]:
        """A place for one request of at most `size` bytes; yields what takes its true size once that is known.

        Raises HttpError 429 when full, 503 when draining.
        """
        self.refuse_if_draining()
        settings = self.settings
        full = self.active >= settings.max_queue or self._bytes + size > BODIES * settings.max_body
        if full:
            raise retry_later(
                429, "too many requests are waiting, please wait and try again later", self._seconds_waiting()
            )
        self.active += 1
        self._bytes += size
        reserved = size

        def settle(true_size: int) -> None:
            nonlocal reserved
            self._bytes -= reserved - true_size
            reserved = true_size

        try:
            yield settle
        finally:
            self.active -= 1
            self._bytes -= reserved

    async def check_key(self, headers: Mapping[str, str]) -> None:
        """Raises HttpError 401 unless a key was sent; a wrong one is refused after a while, or 429 if many wait."""
        try:
            check_key(headers, self.settings.keys)
        except HttpError as error:
            if error.message != http_errors.BAD_KEY:
                raise
            if self._wrong_keys >= FAILED_KEYS:
                raise retry_later(429, "too many wrong keys, please wait and try again later", 1.0) from None
            self._wrong_keys += 1
            try:
                await asyncio.sleep(FAILED_KEY_S)
            finally:
                self._wrong_keys -= 1
            raise

    def refuse_if_draining(self) -> None:
        """Raises HttpError 503 while the server is stopping."""
        if self.draining:
            error = retry_later(503, "the server is stopping, please try again", 1.0)
            error.headers["connection"] = "close"
            raise error


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
    received = sent.encode("latin-1")  # as starlette decodes headers
    if not any([hmac.compare_digest(received, key.encode()) for key in keys]):  # noqa: C419 the list compares with all
        raise HttpError(401, http_errors.BAD_KEY, headers={"www-authenticate": "Bearer"})


def check_type(headers: Mapping[str, str]) -> None:
    """Raises HttpError 415 unless the body is declared as JSON: a form could come from any web page."""
    content_type = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if content_type not in {"application/json", "text/json"} and not content_type.endswith("+json"):
        raise HttpError(415, f"content type `{content_type[:80]}` is not supported: send application/json")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise HttpError(415, "compressed bodies are not supported")


def announced_size(headers: Mapping[str, str], settings: ServeSettings) -> int:
    """Bytes that a body may take: its Content-Length, else the limit. Raises HttpError 413 beyond the limit."""
    length = headers.get("content-length")
    if length is None or not (length.isascii() and length.isdecimal() and len(length) < 19):
        return settings.max_body
    if int(length) > settings.max_body:
        raise too_large(settings)
    return int(length)


def has_two_lengths(headers: Mapping[str, str]) -> bool:
    """Whether a body's length is given twice: a proxy may see another end than we do, so the connection must close."""
    return "content-length" in headers and "transfer-encoding" in headers


def too_large(settings: ServeSettings) -> HttpError:
    """The body is beyond the limit. The connection ends, so that the rest of it need not be read."""
    message = f"the body is too large: this server takes at most {settings.max_body} bytes"
    return HttpError(413, message, headers={"connection": "close"})


async def read_body(request: Request, settings: ServeSettings) -> bytearray:
    """The whole body. Raises HttpError 413 or 408, or ClientDisconnect if the client hung up."""
    body = bytearray()  # not a list of parts, which would be joined to a second copy
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.stream():
                if len(body) + len(part) > settings.max_body:
                    raise too_large(settings)
                body += part
    except TimeoutError:
        hint = f"the body did not arrive within {BODY_S:g} seconds"
        raise HttpError(408, hint, headers={"connection": "close"}) from None
    return body


async def discard(request: Request) -> None:
    """Read the rest of a refused body, for a moment and without keeping it."""
    with suppress(TimeoutError, ClientDisconnect, RuntimeError):  # RuntimeError: the stream was read to its end
        async with asyncio.timeout(DISCARD_S):
            async for _ in request.stream():
                pass


async def wait_until_gone(request: Request) -> None:
    """Returns when the client hangs up. Call it after the body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
