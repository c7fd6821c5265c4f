"""Assertions for CI: `--fail-under nDCG@10=0.62` and `--fail-on-drop nDCG@10=0.01`.

They are checked on a finished evaluation; it prints nothing and knows no exit codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rerank_cli.errors import AssertionFailed, UsageError
from rerank_cli.evaluation.measures import Measure, parse_measure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rerank_cli.evaluation.summary import Evaluation

SLACK = 1e-9  # a mean of 0.62 summed in another order is still 0.62


@dataclass(frozen=True, slots=True)
class Threshold:
    """A measure and a bound: the least mean (`under`), or the largest drop against the baseline (`drop`)."""

    measure: Measure
    bound: float
    drop: bool = False

    def __str__(self) -> str:
        return f"{'--fail-on-drop' if self.drop else '--fail-under'} {self.measure}={self.bound:g}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One threshold on one run; `value` is the mean, or the drop."""

    threshold: Threshold
    run: str
    value: float
    passed: bool

    def __str__(self) -> str:
        what = "drop" if self.threshold.drop else str(self.threshold.measure)
        return f"{self.threshold}: {what} of {self.run} is {self.value:.4f}"


def parse_thresholds(texts: Iterable[str], option: str) -> list[Threshold]:
    """Thresholds from `MEASURE=NUMBER`. Raises UsageError with a hint."""
    thresholds = []
    for text in texts:
        name, equals, number = text.rpartition("=")
        try:
            bound = float(number)
        except ValueError:
            bound = -1.0
        if not equals or not name or not 0 <= bound < float("inf"):
            raise UsageError(f"{option}: `{text}` is not MEASURE=NUMBER", f"for example `{option} nDCG@10=0.5`")
        thresholds.append(Threshold(parse_measure(name), bound, drop=option == "--fail-on-drop"))
    return thresholds


def check(evaluation: Evaluation, thresholds: Sequence[Threshold], *, baseline: bool) -> list[Verdict]:
    """Every threshold on every run but the baseline (the first run, if there is one)."""
    verdicts = []
    for run in evaluation.runs[1:] if baseline else evaluation.runs:
        for threshold in thresholds:
            value = run.means[threshold.measure].mean
            if threshold.drop:
                value = evaluation.runs[0].means[threshold.measure].mean - value
            passed = value <= threshold.bound + SLACK if threshold.drop else value >= threshold.bound - SLACK
            verdicts.append(Verdict(threshold, run.name, value, passed))
    return verdicts


def require(verdicts: Iterable[Verdict]) -> None:
    """Raise AssertionFailed naming every verdict that did not pass."""
    failed = [str(verdict) for verdict in verdicts if not verdict.passed]
    if failed:
        raise AssertionFailed("; ".join(failed))
