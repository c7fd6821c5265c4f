"""Retries: which failures are worth one, how long to wait, and when to give up. stamina counts and backs off.

The caller's `pause` waits, not stamina's sleep, so that Ctrl-C and a failure in another thread end the wait.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from rerank_cli.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")
RETRIED = frozenset({408, 409, 429, 499})  # and 5xx
FINAL = frozenset({501, 505})  # "not implemented" does not change with time
FIRST_WAIT_S = 0.5
RATE_LIMIT_FACTOR = 4.0  # limits per minute need longer waits: 2 + 4 + 8 + 16 + 32 s
LIMITED = 429
RESETS = ("x-ratelimit-reset", "ratelimit-reset", "x-ratelimit-reset-requests")
UNIX_S = 1e9  # reset headers above this are a date, below a duration


class Transient(Exception):
    """A failure that may pass; `error` is what to raise when it does not.

    `wait_s`: how long the server asks to wait, if it says so. `rate_limited`: the server is at its limit, so other
    threads wait too. `once`: worth one more try only. `attempts`: how many were made when it was raised.
    """

    def __init__(
        self, error: RemoteError, wait_s: float | None = None, *, rate_limited: bool = False, once: bool = False
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.wait_s = wait_s
        self.rate_limited = rate_limited
        self.once = once
        self.attempts = 1


@dataclass(frozen=True, slots=True)
class Policy:
    """How often and how long: `retries` after the first attempt, no single wait above `max_wait_s`."""

    retries: int
    max_wait_s: float


def is_transient(status: int, headers: Mapping[str, str]) -> bool:
    """Whether a status is worth a retry; the header `x-should-retry` overrides the status."""
    asked = headers.get("x-should-retry", "").lower()
    if asked in ("true", "false"):
        return asked == "true"
    return status in RETRIED or (status >= 500 and status not in FINAL)


def requested_wait(status: int, headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds a reply asks to wait: retry-after-ms, Retry-After (seconds or date), then the reset headers.

    Only with 429 the reset headers count: some gateways send them with every reply. Names of `headers` are in lower
    case; `now` is Unix time, for tests.
    """
    now = time.time() if now is None else now
    if (ms := _number(headers.get("retry-after-ms"))) is not None:
        return ms / 1000
    if after := headers.get("retry-after"):
        seconds = _number(after)
        return seconds if seconds is not None else _until(after, now)
    for name in RESETS if status == LIMITED else ():
        if (reset := _number(headers.get(name))) is not None:
            return max(0.0, reset - now) if reset > UNIX_S else reset
    return None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def _until(date: str, now: float) -> float | None:
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(date).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None


def with_retries(send: Callable[[], T], policy: Policy, pause: Callable[[float], None]) -> T:
    """Call `send` until it succeeds, fails for good, or the policy is used up.

    `send` makes one attempt and raises Transient for a failure that may pass. `pause` waits the given seconds before an
    attempt; before the first one it gets 0. Raises RemoteError: the last failure, with the number of attempts.
    """
    from stamina import retry_context

    wait = 0.0
    try:
        for attempt in retry_context(
            on=partial(_should_retry, policy),
            attempts=policy.retries + 1,
            timeout=None,
            wait_initial=FIRST_WAIT_S,
            wait_max=policy.max_wait_s,
            wait_jitter=0,
        ):
            with attempt:
                pause(wait)
                try:
                    return send()
                except Transient as failure:
                    wait = _wait_after(failure, attempt.next_wait, policy.max_wait_s)
                    failure.attempts = attempt.num
                    raise
    except Transient as failure:
        raise _given_up(failure, policy) from failure
    raise AssertionError("stamina ends with a result or an exception")  # pragma: no cover


def _should_retry(policy: Policy, error: Exception) -> bool | float:
    if not isinstance(error, Transient) or (error.once and error.attempts > 1):
        return False
    if error.wait_s is not None and error.wait_s > policy.max_wait_s:
        return False
    from stamina.instrumentation import set_on_retry_hooks

    set_on_retry_hooks(())  # its default hooks print to stderr, or, with structlog installed, to stdout
    return 0.0  # `pause` does the waiting


def _wait_after(failure: Transient, backoff: float, most: float) -> float:
    """Jitter spreads workers that failed together; the server's own wait is a minimum."""
    if failure.wait_s is not None:
        return failure.wait_s * random.uniform(1.0, 1.1)  # noqa: S311 no secret depends on it
    backoff *= RATE_LIMIT_FACTOR if failure.rate_limited else 1.0
    return min(backoff, most) * random.uniform(0.75, 1.0)  # noqa: S311


def _given_up(failure: Transient, policy: Policy) -> RemoteError:
    error = failure.error
    if failure.wait_s is not None and failure.wait_s > policy.max_wait_s:
        message = f"{error.message}; it asks to wait {failure.wait_s:,.0f} s"
        hint = f"--max-wait is {policy.max_wait_s:g} s: raise it, or try again later"
        return RemoteError(message, hint, reply=error.reply)
    tried = f" (after {failure.attempts} attempts)" if failure.attempts > 1 else ""
    return RemoteError(error.message + tried, error.hint, reply=error.reply)
