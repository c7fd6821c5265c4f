"""Checks of the user's on a finished ranking: `--expect ID@K` and `--fail-if-empty`. Results are written by then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerank_cli.errors import AssertionFailed, ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerank_cli.records import Ranking
    from rerank_cli.terminal import Terminal


def judge(ranking: Ranking, options: dict[str, Any], terminal: Terminal) -> int:
    """0 if every check holds, else AssertionFailed with all that failed."""
    if not ranking.hits and not options["fail_if_empty"]:
        terminal.note("no documents: the result is empty" if not ranking.meta.documents else "no document is left")
    failures = []
    if options["fail_if_empty"] and not ranking.hits:
        failures.append("the result is empty")
    for wanted, k in parse_expectations(options["expect"] or ()):
        place = place_of(wanted, ranking)
        if place is None or place > k:
            where = "is not in the result" if place is None else f"has rank {place}"
            failures.append(f"--expect {wanted}@{k}: `{wanted}` {where}")
    if failures:
        raise AssertionFailed("; ".join(failures))
    return ExitCode.OK


def parse_expectations(texts: Sequence[str]) -> list[tuple[str, int]]:
    """`ID@K` pairs; the last `@` splits, so ids may hold one."""
    found = []
    for text in texts:
        wanted, at, k = text.rpartition("@")
        if not at or not wanted or not (k.isascii() and k.isdigit() and len(k) < 10) or int(k) < 1:
            raise UsageError(f"--expect: `{text}` is not ID@K", "for example `--expect doc-17@3`")
        found.append((wanted, int(k)))
    return found


def place_of(wanted: str, ranking: Ranking) -> int | None:
    """The best rank of a document with this id (or, without an id, this index), None if none is among the hits."""
    names = ((str(hit.index) if hit.document.id is None else hit.document.id, hit.rank) for hit in ranking.hits)
    return min((rank for name, rank in names if name == wanted), default=None)
