"""Checks of a finished ranking that the user asked for: `--expect ID@K` and `--fail-if-empty`. Results are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerank_cli.errors import AssertionFailed, ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerank_cli.records import Ranking
    from rerank_cli.terminal import Terminal


def check_expectations(
    ranking: Ranking, fail_if_empty: bool, expected: Sequence[tuple[str, int]], best: float | None, terminal: Terminal
) -> int:
    """0 if every check holds; `best` is the highest score where --min-score is set. Raises AssertionFailed."""
    why = "" if best is None else f": the best relevance_score was {best:.3g} (--min-score)"
    if not ranking.hits and not fail_if_empty:
        terminal.note(
            "no documents: the result is empty" if not ranking.meta.documents else f"no document is left{why}"
        )
    failures = [f"the result is empty{why}"] if fail_if_empty and not ranking.hits else []
    for document, k in expected:
        rank = rank_of(document, ranking)
        if rank is None or rank > k:
            where = "is not in the result" if rank is None else f"has rank {rank}"
            failures.append(f"--expect {document}@{k}: `{document}` {where}")
    if failures:
        raise AssertionFailed("; ".join(failures))
    return ExitCode.OK


def parse_expectations(texts: Sequence[str]) -> list[tuple[str, int]]:
    """`ID@K` pairs; the last `@` splits, so ids may hold one. Raises UsageError."""
    pairs = []
    for text in texts:
        document, at, k = text.rpartition("@")
        if not at or not document or not (k.isascii() and k.isdigit() and len(k) < 10) or int(k) < 1:
            raise UsageError(f"--expect: `{text}` is not ID@K", "for example `--expect doc-17@3`")
        pairs.append((document, int(k)))
    return pairs


def rank_of(document: str, ranking: Ranking) -> int | None:
    """The best rank of a document with this id (or, without an id, this index), None if none is among the hits."""
    names = ((str(hit.index) if hit.document.id is None else hit.document.id, hit.rank) for hit in ranking.hits)
    return min((rank for name, rank in names if name == document), default=None)
