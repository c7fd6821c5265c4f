"""Boosts: newer documents, documents with a value, documents with larger numbers move up by a bounded amount.

Where scores are log-odds, a boost is added to them; multiplying odds is adding to log-odds. Elsewhere no amount has a
meaning, so the boost is added to the log-odds of the rank. Documents without the field are neither raised nor lowered.
It does not know where fields come from.
"""

from __future__ import annotations

import math
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from rerank_cli.errors import UsageError
from rerank_cli.paths import lookup
from rerank_cli.ranking import percentile_ranks, sigmoid
from rerank_cli.stages.base import Change, as_text, fields_of, warn_of_missing, with_effect
from rerank_cli.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rerank_cli.records import Hit
    from rerank_cli.settings import StageSettings
    from rerank_cli.stages.base import Context

NAME = "boosts"
LIMIT = 1.0  # log-odds: the odds at most 2.7 times as good or as bad
HALF_LIFE = "30d"
LEFT_ALONE = "neither raised nor lowered"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365.25 * 86_400}
_YEAR, _BASIC_DATE, _DIGITS = re.compile(r"[12]\d{3}"), re.compile(r"[12]\d{7}"), re.compile(r"-?\d+(\.\d+)?")
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdwy])")
MILLISECONDS = 1e11  # larger numbers are milliseconds: as seconds they would be after the year 5138


class Boost(NamedTuple):
    """Documents with this value of a field have their odds multiplied by `factor`."""

    field: str
    value: str
    factor: float


def make(settings: StageSettings) -> Callable[[list[Hit], Context], Change] | None:
    """The stage, None if no boost is asked for. Raises UsageError for a boost that cannot be read."""
    boosts = [parse_boost(text) for text in settings.boost]
    any_boost = settings.recency or boosts or settings.boost_field
    if settings.half_life is not None and not settings.recency:
        raise UsageError("--half-life needs --recency", "for example `--recency date --half-life 30d`")
    if settings.boost_limit is not None and not any_boost:
        raise UsageError("--boost-limit needs a boost", "for example `--recency date --boost-limit 2`")
    half_life = parse_time(settings.half_life or HALF_LIFE)
    if not any_boost:
        return None

    def apply(hits: list[Hit], context: Context) -> Change:
        fields = [fields_of(hit.document) for hit in hits]
        parts: list[list[float]] = [
            [math.log(boost.factor) * has_value(of, boost) for of in fields] for boost in boosts
        ]
        if settings.recency:
            dates = [parse_date(lookup(of, settings.recency)) for of in fields]
            parts.append([settings.weight * share for share in recency(dates, half_life)])
            warn_of_missing(dates, settings.recency, context, "date", LEFT_ALONE)
        if settings.boost_field:
            numbers = [parse_number(lookup(of, settings.boost_field)) for of in fields]
            parts.append([settings.weight * share for share in standing(numbers)])
            warn_of_missing(numbers, settings.boost_field, context, "number", LEFT_ALONE)
        return boosted(hits, [math.fsum(column) for column in zip(*parts, strict=True)], settings.boost_limit, context)

    return apply


def boosted(hits: list[Hit], amounts: Sequence[float], limit: float | None, context: Context) -> Change:
    """The hits in their new order, each with its final score; empty documents stay last."""
    most = LIMIT if limit is None else limit
    bases = bases_of(hits, context)
    finals: list[float | None] = []
    changed = []
    for hit, base, amount in zip(hits, bases, amounts, strict=True):
        bounded = max(-most, min(most, amount))
        final = None if base is None else base + bounded
        if final is not None and base is not None and limit is None and context.log_odds:
            final = max(final, 0.0) if base >= 0 else min(final, -math.ulp(1.0))
        finals.append(final)
        shown = None if final is None else final if context.raw_scores and context.log_odds else sigmoid(final)
        effect = {"log_odds": bounded, **({"asked": amount} if bounded != amount else {})}
        changed.append(hit if final is None else with_effect(hit, NAME, effect, shown))
    order = sorted(range(len(hits)), key=lambda i: math.inf if (final := finals[i]) is None else -final)
    return Change([changed[i] for i in order])


def bases_of(hits: Sequence[Hit], context: Context) -> list[float | None]:
    """What boosts are added to: the log-odds of relevance, or where scores have no such scale, those of the rank."""
    if context.log_odds:
        return [hit.score.value for hit in hits]
    scored = [hit.relevance_score is not None for hit in hits]
    count = sum(scored)
    odds = ((count - place - 0.5) / (place + 0.5) for place in range(count))
    return [math.log(next(odds)) if is_scored else None for is_scored in scored]


def recency(dates: Sequence[float | None], half_life: float, now: float | None = None) -> list[float]:
    """1 for the newest document, 0 for one that is a half-life older, towards -1 for older ones; 0 without a date.

    Ages count from the newest date that is not in the future, so that the same documents always give the same result.
    """
    now = time.time() if now is None else now
    past = [date for date in dates if date is not None and date <= now]
    newest = max(past, default=now)
    ages = (None if date is None else max(0.0, newest - date) for date in dates)
    return [0.0 if age is None else 2.0 * 0.5 ** min(age / half_life, 1000.0) - 1.0 for age in ages]


def standing(numbers: Sequence[float | None]) -> list[float]:
    """From 1 for the largest number to -1 for the smallest, by how many others it beats; 0 without a number."""
    known = [number for number in numbers if number is not None]
    if len(set(known)) < 2:
        return [0.0] * len(numbers)
    shares = iter(percentile_ranks(known))
    return [0.0 if number is None else 2.0 * next(shares) - 1.0 for number in numbers]


def has_value(fields: Mapping[str, Any], boost: Boost) -> bool:
    """Whether a field has the value of a boost, or is a list that has it; values are compared as they are written."""
    value = lookup(fields, boost.field)
    return any(as_text(item) == boost.value for item in (value if isinstance(value, list) else [value]))


def parse_boost(text: str) -> Boost:
    """`FIELD=VALUE:FACTOR`; the value may contain both signs. Raises UsageError."""
    left, colon, factor = text.rpartition(":")
    field, equals, value = left.partition("=")
    number = parse_number(factor)
    if not (field and equals and colon) or number is None or number <= 0:
        hint = "write FIELD=VALUE:FACTOR with a factor above 0, for example `--boost lang=en:2`"
        raise UsageError(f"--boost: `{shown(text)}` is not a field, a value and a factor", hint)
    return Boost(field, value, number)


def parse_time(text: str) -> float:
    """Seconds of a time such as `30d`. Raises UsageError."""
    match = _TIME.fullmatch(text.strip().lower())
    seconds = float(match[1]) * UNITS[match[2]] if match else 0.0
    if not seconds > 0:
        hint = "write a number and a unit (s, m, h, d, w or y), for example `--half-life 30d`"
        raise UsageError(f"--half-life: `{shown(text)}` is not a time", hint)
    return seconds


def parse_number(value: Any) -> float | None:
    """A finite number, also written as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and "_" in value:  # a number of Python only
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def parse_date(value: Any) -> float | None:
    """Seconds since 1970 of a date; None for what is not one.

    ISO 8601 (without a zone: UTC), RFC 2822 as in mail and HTTP, a year, or epoch seconds or milliseconds.
    """
    text = str(value).strip() if isinstance(value, str | int) else value
    if _YEAR.fullmatch(str(text)) and not isinstance(value, bool):
        text = f"{text}-01-01"
    if not isinstance(text, str) or (_DIGITS.fullmatch(text) and not _BASIC_DATE.fullmatch(text)):
        number = parse_number(text)
        return number / 1000 if number is not None and abs(number) >= MILLISECONDS else number
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        from email.utils import parsedate_to_datetime

        try:
            date = parsedate_to_datetime(text)
        except (ValueError, IndexError, OverflowError):
            return None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
