"""`--dry-run`: what a remote endpoint would be sent and would bill. Nothing is sent and no key is needed."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from rerank_cli.billing import digits
from rerank_cli.errors import UsageError
from rerank_cli.records import Pair
from rerank_cli.text import escape_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rerank_cli.records import DocumentStream, Queries
    from rerank_cli.report import Report
    from rerank_cli.scorers.remote.cost import Estimate
    from rerank_cli.settings import CacheSettings, ModelSettings, OutputSettings, RankSettings
    from rerank_cli.terminal import Terminal


def check(model: ModelSettings, output: OutputSettings, terminal: Terminal) -> str:
    """`text` or `json`, as the options say. Raises UsageError for what has no estimate or cannot show one."""
    from rerank_cli import models
    from rerank_cli.scorers.registry import is_remote
    from rerank_cli.scorers.remote.providers import provider_hint
    from rerank_cli.writers import choose_format

    if not is_remote(model):
        models.require_known(model.model, model.remote.endpoints, provider_hint)
        raise UsageError("--dry-run is about remote endpoints; a local model sends and bills nothing", "leave it out")
    form = choose_format(output, terminal, {"line"})
    if form not in {"json", "jsonl", "lines", "table"}:
        raise UsageError(f"--dry-run writes no {form}", "it writes lines, or an object with --json")
    return "json" if form.startswith("json") else "text"


def pairs_of(query: Queries, stream: DocumentStream) -> Sequence[Pair]:
    """The pairs that would be scored, each once."""
    from rerank_cli.scoring import unique_pairs

    return unique_pairs(query, list(chain.from_iterable(stream.chunks))).pairs


def sentences_of(pairs: Sequence[Pair], settings: RankSettings) -> list[Pair]:
    """The most sentences that --highlight may have to score: those of the documents with most of them."""
    if not settings.stages.highlight:
        return []
    from rerank_cli.highlighting import MOST
    from rerank_cli.sentences import sentences

    found = [
        [Pair(pair.query, pair.text[slice(*span)]) for span in islice(sentences(pair.text), MOST)] for pair in pairs
    ]
    queries = len({pair.query for pair in pairs})
    most = sorted(found, key=len, reverse=True)[: None if settings.top_n is None else settings.top_n * queries]
    return list(dict.fromkeys(chain.from_iterable(most)))


def unless_cached(model: ModelSettings, cache: CacheSettings | None) -> ModelSettings:
    """The model; offline is not a reason to refuse a run whose score cache may know every pair."""
    return replace(model, offline=model.offline and cache is None)


def dry_run(
    pairs: Sequence[Pair],
    model: ModelSettings,
    settings: RankSettings,
    output: OutputSettings,
    terminal: Terminal,
    report: Report,
) -> None:
    """Write requests, documents, estimated tokens, units and cost, as `name: value` lines or as one JSON object.

    Raises what the run would raise before its first request, but for a key that is not set and for --max-units that is
    too low.
    """
    from rerank_cli.scorers.registry import chain_of
    from rerank_cli.scorers.remote.budget import check_budget, check_cost, price_hint
    from rerank_cli.writers import open_output

    form = check(model, output, terminal)
    first, *others = chain_of(model)
    found = estimated(pairs, first, settings, terminal, report)
    further = [if_it_must(one, pairs, settings, terminal, report) for one in others]
    refused = None
    try:
        check_budget(found, 0, model.remote.max_units)
        check_cost(found, 0, model.remote.max_cost)
    except UsageError as error:
        refused = error.message
    with open_output(output.output, terminal, "json" if form == "json" else "text") as write:
        chain = {"fallback": further} if further else {}
        record = {"schema_version": 1, "dry_run": True, **asdict(found), "refused": refused, **chain}
        write(json.dumps(record, ensure_ascii=False).encode() + b"\n" if form == "json" else as_text(found, further))
    if form == "text":
        for note in found.notes:
            terminal.note(note)
        if found.units is not None and found.cost is None:
            terminal.note(f"the cost is not known: {price_hint(found)}")
    if refused:
        terminal.warn(f"without --dry-run this is refused: {refused}")


def if_it_must(
    model: ModelSettings, pairs: Sequence[Pair], settings: RankSettings, terminal: Terminal, report: Report
) -> dict[str, Any]:
    """A fallback, and what it would use if all before it failed. Raises UsageError for one that could never work."""
    from rerank_cli.scorers.registry import is_remote, require_possible

    require_possible(model, terminal.env)
    if not is_remote(model):
        return {"model": model.model}
    found = asdict(estimated(pairs, model, settings, terminal, report))
    return {"model": model.model, **{name: found[name] for name in ("requests", "unit", "units", "cost")}}


def estimated(
    pairs: Sequence[Pair], model: ModelSettings, settings: RankSettings, terminal: Terminal, report: Report
) -> Estimate:
    """What scoring these pairs would use, and the sentences for --highlight. Raises UsageError as the run would."""
    from rerank_cli.scorers.remote.cost import estimate, together
    from rerank_cli.scorers.remote.dry_run import check_run
    from rerank_cli.stage_checks import check_stages

    info = check_run(pairs, model, settings.limits, terminal.env, report)
    check_stages(tuple(dict.fromkeys(pair.query for pair in pairs)), info, settings, report)
    found = estimate(model.model, pairs, model, settings.limits)
    sentences = sentences_of(pairs, settings)
    return together(found, estimate(model.model, sentences, model, settings.limits)) if sentences else found


def as_text(found: Estimate, further: Sequence[Mapping[str, Any]] = ()) -> bytes:
    """The estimate as lines, without what is unknown."""
    facts = {name: value for name, value in asdict(found).items() if value is not None and name != "notes"}
    facts |= {name: int(value) for name, value in facts.items() if name == "units" and value == int(value)}
    if found.cost is not None:
        facts["cost"] = f"{digits(found.cost)} (in the currency of [prices])"
    lines = [f"{name}: {value:,}" if isinstance(value, int | float) else f"{name}: {value}"
             for name, value in facts.items()]  # fmt: skip
    for one in further:
        used = ", ".join(f"{name} {one[name]}" for name in ("requests", "unit", "units", "cost") if one.get(name))
        lines.append(f"fallback: {one['model']}" + (f" ({used})" if used else ""))
    return ("\n".join(map(escape_line, lines)) + "\n").encode()
