"""Grouping: the best chunks of each source document. Groups are ordered by their best chunk.

A document without the field is a group of its own. It knows nothing of how scores came about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerank_cli.errors import UsageError
from rerank_cli.paths import lookup
from rerank_cli.stages.base import Change, as_text, fields_of, warn_of_missing, with_effect

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from rerank_cli.records import Hit
    from rerank_cli.settings import StageSettings
    from rerank_cli.stages.base import Context

NAME = "grouping"


def make(settings: StageSettings) -> Callable[[list[Hit], Context], Change] | None:
    """The stage, None without a field to group by. Raises UsageError for a group size without one."""
    field, size = settings.group_by, settings.group_size or 1
    if not field:
        if settings.group_size is not None:
            raise UsageError("--group-size needs --group-by", "for example `--group-by doc_id --group-size 2`")
        return None

    def apply(hits: list[Hit], context: Context) -> Change:
        values = [group_of(lookup(fields_of(hit.document), field)) for hit in hits]
        warn_of_missing(values, field, context, "value", "not grouped")
        groups: dict[Hashable, list[Hit]] = {}
        removed: dict[int, dict[str, Any]] = {}
        for hit, value in zip(hits, values, strict=True):
            members = groups.setdefault(hit.index if value is None else (value,), [])
            if len(members) < size:
                members.append(hit)
            else:
                removed[hit.index] = {"group": value}
        kept = [hit for members in groups.values() for hit in members]
        stayed = [hit for hit in hits if hit.index not in removed]
        return Change(kept if kept == stayed else scored(groups.values()), removed)

    return apply


def scored(groups: Any) -> list[Hit]:
    """The hits of all groups; each has the score of its group's best, so that scores still fall along the ranks."""
    return [
        hit
        if hit.relevance_score is None
        else with_effect(hit, NAME, {"best": members[0].index}, members[0].order_score)
        for members in groups
        for hit in members
    ]


def group_of(value: Any) -> str | None:
    """What a document is grouped by: a value as it is written; None if there is none."""
    if isinstance(value, list):
        return "\n".join(text for item in value if (text := as_text(item)) is not None) or None
    return as_text(value) or None
