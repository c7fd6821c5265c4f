"""One request to a provider with all that belongs to it: rate limits, retries, and what it used.

It knows neither what a request asks nor what a reply means.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from rerank_cli.errors import ProviderReply, RemoteError
from rerank_cli.scorers.remote import wire
from rerank_cli.scorers.remote.parse_response import parse_response
from rerank_cli.scorers.remote.redaction import redact
from rerank_cli.scorers.remote.retries import LIMITED, Policy, Transient, with_retries

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rerank_cli.report import Report
    from rerank_cli.scorers.remote.client import Client
    from rerank_cli.scorers.remote.shared import Shared
    from rerank_cli.scorers.remote.target import Target
    from rerank_cli.settings import RemoteSettings

LONG_PAUSE_S = 2.0  # longer waits for a rate limit are noted


class Channel:
    """The way to one endpoint. Thread-safe; `used` counts what the replies say was billed."""

    def __init__(
        self,
        target: Target,
        remote: RemoteSettings,
        client: Client,
        report: Report,
        shared: Shared,
        is_gone: Callable[[], bool] = lambda: False,
    ) -> None:
        self.target, self.remote, self.shared, self.report = target, remote, shared, report
        self._client = client
        self._is_gone = is_gone
        self._policy = Policy(max(0, remote.retries), remote.max_wait_s)
        self._used: dict[str, float] = {}

    def for_request(self, report: Report, remote: RemoteSettings, is_gone: Callable[[], bool]) -> Channel:
        """The same endpoint for one request among many, whose usage and warnings are its own.

        Connections, limits and budget are shared. Nothing more is sent once `is_gone`.
        """
        return Channel(self.target, remote, self._client, report, self.shared, is_gone)

    def send(self, body: bytes, tokens: int, pause: Callable[[float], None]) -> tuple[Any, Mapping[str, str]]:
        """The decoded payload and the headers of the reply; `tokens` are estimated, for the rate limit.

        Raises RemoteError: the last failure; TooLarge: the server refuses so much in one request.
        """

        def attempt() -> tuple[Any, Mapping[str, str]]:
            pause(self._wait_for(tokens))
            try:
                with self.shared.slots:
                    if self._is_gone():
                        raise RemoteError("nobody waits for the reply any more")
                    reply = self._client.post(body)
                return parse_response(self.target, reply)
            except Transient as failure:
                if failure.rate_limited and failure.wait_s and failure.wait_s <= self._policy.max_wait_s:
                    self.shared.limiter.hold(failure.wait_s)
                raise

        return with_retries(attempt, self._policy, pause)

    def _wait_for(self, tokens: int) -> float:
        """Seconds until the rate allows a request. Raises RemoteError if it may not wait that long."""
        most = self._policy.max_wait_s if self.remote.refuse_waits else inf
        wait = self.shared.limiter.reserve(tokens, most)
        if wait > most:
            words = "the rate limit (--requests-per-minute, --tokens-per-minute) is reached"
            raise RemoteError(words, reply=ProviderReply(LIMITED, words, wait))
        if wait > LONG_PAUSE_S:
            self.report.note("requests wait for the rate limit (--requests-per-minute, --tokens-per-minute)")
        return wait

    def count(self, payload: Any, headers: Mapping[str, str]) -> dict[str, float]:
        """Count what a reply says it used, and repeat the provider's warnings. Returns the counters of this reply."""
        used = wire.parse_usage(self.target.provider, payload, headers)
        with self.shared.lock:
            for name, value in used.items():
                self._used[name] = self._used.get(name, 0) + value
            for warning in wire.parse_warnings(payload):
                words = wire.shortened(redact(warning, self.target.secrets))
                self.report.warn(f"{self.target.provider.shown} says: {words}")
        return used

    def usage(self) -> dict[str, float]:
        """Billed units and tokens of all replies so far."""
        with self.shared.lock:
            return dict(self._used)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
