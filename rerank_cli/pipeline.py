"""The core that every command calls: documents to pairs, pairs to scores, scores to a ranking, in bounded memory.

With `top_n` only the best so far are kept between chunks, so memory does not grow with the input. It reads and writes
nothing, and knows neither formats nor terminals.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from rerank_cli import ranking, scoring
from rerank_cli.hits import Hits
from rerank_cli.language import mostly_foreign, other_language
from rerank_cli.records import LOG_ODDS, UNSCORED, Document, Ranking, Score
from rerank_cli.rows import Rows, column, take
from rerank_cli.scorers.fallback import FallbackScorer
from rerank_cli.scorers.meta import meta_of
from rerank_cli.stage_checks import check_chain, check_stages, note_best, stage_context
from rerank_cli.text import is_blank

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rerank_cli.records import Hit, Queries, Source
    from rerank_cli.report import Report
    from rerank_cli.scorers.base import Advance, Scorer, ScorerInfo
    from rerank_cli.scorers.fallback import ChainModel
    from rerank_cli.settings import RankSettings

MORE = 8192  # documents beyond twice top_n before those that cannot reach the result are dropped


def rank(
    query: Queries,
    chunks: Iterable[list[Document]],
    scorer: Scorer,
    settings: RankSettings,
    report: Report,
    advance: Advance | None = None,
) -> Ranking:
    """Rank all documents of a stream for one query, or for several. Raises what readers and scorer raise.

    With a chain of models, all documents are kept, because the next model needs all of them.
    """
    if settings.prefilter:
        return rank_prefiltered(query, chunks, scorer, settings, report, advance)
    if isinstance(scorer, FallbackScorer):
        return rank_in_turn(query, list(chunks), scorer, settings, report, advance)
    if isinstance(query, str) and settings.join == "rrf":
        settings = replace(settings, join="max")
    kept, scores = Rows(Document), Rows(Score)
    seen: set[bytes] = set()
    sources: dict[int, Source] = {}
    check_stages(query, scorer.info, settings, report)
    if scorer.info.whole_query:
        chunks = [list(chain.from_iterable(chunks))]
    for number, chunk in enumerate(chunks):
        sources |= {id(document.source): document.source for document in chunk}  # by identity: hashing would cost more
        documents = without_repeats(chunk, seen, report) if settings.stages.dedupe else chunk
        if number == 0:
            check_language(query, documents, scorer.info, report)
        new = scoring.score_documents(query, documents, scorer, settings, advance)
        tally(new, report, scorer.info)
        note_best(new, scorer.info, settings, report)
        promising = trim(documents, new, settings, scorer.info)
        kept.extend(promising[0])
        scores.extend(promising[1])
        if settings.top_n and len(kept) > 2 * settings.top_n + MORE:
            best = trim(kept, scores, settings, scorer.info)
            kept, scores = Rows(Document, best[0]), Rows(Score, best[1])
    ranking = with_highlights(assemble(query, kept, scores, scorer.info, settings, report), scorer, settings)
    return replace(ranking, meta=replace(ranking.meta, usage=scorer.usage()), sources=tuple(sources.values()))


def rank_prefiltered(
    query: Queries,
    chunks: Iterable[list[Document]],
    scorer: Scorer,
    settings: RankSettings,
    report: Report,
    advance: Advance | None,
) -> Ranking:
    """The ranking of the documents that share most words with the query; `meta.stages` counts the others."""
    most = settings.prefilter or 0
    chunks = best_by_words(query, chunks, settings, report)
    ranking = rank(query, chunks, scorer, replace(settings, prefilter=None), report, advance)
    left_out = report.counts["prefiltered"]
    if not left_out:
        return ranking
    row = {"stage": "prefilter", "documents": most + left_out, "kept": most}
    return replace(ranking, meta=replace(ranking.meta, stages=(row, *ranking.meta.stages)))


def best_by_words(
    query: Queries, chunks: Iterable[list[Document]], settings: RankSettings, report: Report
) -> Iterator[list[Document]]:
    """What --prefilter leaves of a stream; repeats, if they are not wanted, take no place of others."""
    from rerank_cli import prefilter

    if settings.stages.dedupe:
        seen: set[bytes] = set()
        chunks = (without_repeats(chunk, seen, report) for chunk in chunks)
    return prefilter.best_by_words(query, chunks, settings.prefilter or 0, report)


def rank_in_turn(
    query: Queries,
    chunks: list[list[Document]],
    chain: FallbackScorer,
    settings: RankSettings,
    report: Report,
    advance: Advance | None,
) -> Ranking:
    """The ranking of the first usable model of a chain, which says what failed before.

    Raises UsageError at once for a stage that one of its endpoints could never do.
    """
    check_chain(query, chain, settings, report)

    def attempt(scorer: Scorer, model: ChainModel) -> Ranking:
        return rank(query, chunks, scorer, model.settings_of(settings), report, advance)

    ranking, failed = chain.first(attempt, report)
    return replace(ranking, meta=replace(ranking.meta, fallback=failed, usage=chain.usage()))


def assemble(
    query: Queries,
    documents: Sequence[Document],
    scores: Sequence[Score],
    info: ScorerInfo,
    settings: RankSettings,
    report: Report,
) -> Ranking:
    """The ranking of documents by their scores, one per document and all finite: the last step of every command.

    Raises UsageError for a stage that cannot work on these scores.
    """
    queries = () if isinstance(query, str) else query
    check_threshold(settings, info, report)
    hits: Sequence[Hit]
    if settings.stages.active:
        hits, done = staged(query, documents, scores, info, settings, report)
    else:
        hits, done = select(documents, scores, settings, info), ()
    meta = meta_of(info, settings, report)  # after the stages, which may warn
    meta = replace(meta, queries=queries, stages=done) if queries or done else meta
    return Ranking("\n".join(queries) or str(query), hits, meta)


def staged(
    query: Queries,
    documents: Sequence[Document],
    scores: Sequence[Score],
    info: ScorerInfo,
    settings: RankSettings,
    report: Report,
) -> tuple[list[Hit], tuple[dict[str, Any], ...]]:
    """The hits after the stages, and what each stage did. Raises UsageError as `assemble` does."""
    from rerank_cli import stages

    hits = list(select(documents, scores, replace(settings, top_n=None, keep_order=False), info))
    hits, done = stages.run(hits, settings.stages, stage_context(query, info, settings, report))
    if settings.keep_order:
        hits.sort(key=lambda hit: hit.index)
    return hits, done


def with_highlights(ranking: Ranking, scorer: Scorer, settings: RankSettings) -> Ranking:
    """The ranking with its best sentences, if they are asked for or come from a provider. Raises as `Scorer.score`."""
    if not settings.stages.highlight and scorer.info.backend != "remote":
        return ranking
    from rerank_cli.highlighting import highlighted

    return highlighted(ranking, scorer, settings)


def trim(
    documents: Sequence[Document], scores: Sequence[Score], settings: RankSettings, info: ScorerInfo
) -> tuple[Sequence[Document], Sequence[Score]]:
    """What can still reach the result, in input order so that ties hold: nothing below threshold or top_n can."""
    if settings.fusion or settings.join == "rrf" or settings.keep_order or settings.stages.needs_all:
        return documents, scores
    if settings.min_score is None and (settings.top_n is None or len(scores) <= settings.top_n):
        return documents, scores
    values = column(scores, "value")
    keep: Sequence[int] = range(len(values)) if settings.min_score is None else passing(values, settings, info)
    if settings.top_n is not None and len(keep) > settings.top_n:
        best = ranking.order([values[place] for place in keep])[: settings.top_n]
        keep = sorted(keep[place] for place in best)
    return take(documents, keep), take(scores, keep)


def select(documents: Sequence[Document], scores: Sequence[Score], settings: RankSettings, info: ScorerInfo) -> Hits:
    """The hits in their final order: fused or by score, cut by threshold and top_n; `keep_order` keeps input order."""
    values = column(scores, "value")
    fused: list[float | None] | None = None
    if settings.fusion:
        # Without a score of the retriever (an empty document, which is not fused) others must not lose by it.
        priors = [-math.inf if prior is None else prior for prior in column(documents, "prior")]
        base = show_all(values, settings, info) if settings.fusion == "weighted" else values
        fused = ranking.fuse(base, priors, settings.fusion, settings.weight)
    elif settings.join == "rrf":
        fused = ranking.fuse_queries(column(scores, "by_query"))
    ordered = ranking.order(values) if fused is None else ranking.order(fused, values)
    if settings.min_score is not None:
        passed = set(passing(values, settings, info))
        ordered = [place for place in ordered if place in passed]
    ordered = ordered if settings.top_n is None else ordered[: settings.top_n]
    ranks: Sequence[int] = range(1, len(ordered) + 1)
    if settings.keep_order:
        in_input_order = sorted(zip(ordered, ranks, strict=True))
        ordered, ranks = [place for place, _ in in_input_order], [rank for _, rank in in_input_order]
    return Hits(documents, scores, array("Q", ordered), ranks, partial(show_all, settings=settings, info=info), fused)


def show_all(values: Sequence[float | None], settings: RankSettings, info: ScorerInfo) -> list[float | None]:
    """The relevance scores that are shown: the sigmoid of log-odds, other scales unchanged."""
    if settings.raw_scores or info.scale != LOG_ODDS:
        return list(values)
    sigmoid = ranking.sigmoid
    return [None if value is None else sigmoid(value) for value in values]


def passing(values: Sequence[float | None], settings: RankSettings, info: ScorerInfo) -> list[int]:
    """The positions that --min-score lets through: it compares the numbers shown; empty documents never pass."""
    least = -math.inf if settings.min_score is None else settings.min_score
    shown = show_all(values, settings, info)
    return [place for place, number in enumerate(shown) if number is not None and number >= least]


def check_threshold(settings: RankSettings, info: ScorerInfo, report: Report) -> None:
    """Warn once about a threshold on a local model's scores that are no log-odds: no number means relevance there."""
    if settings.min_score is not None and info.backend != "remote" and info.scale not in {LOG_ODDS, UNSCORED}:
        report.warn(f"--min-score compares scores of {info.model}, which are not probabilities: {info.scale}")


def without_repeats(documents: Sequence[Document], seen: set[bytes], report: Report) -> list[Document]:
    """Documents whose scored text did not come before; blank ones are alike. `seen` holds 16-byte digests."""
    from hashlib import blake2b

    fresh = []
    for document in documents:
        text = "" if is_blank(document.text) else document.text
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if digest not in seen:
            seen.add(digest)
            fresh.append(document)
    if len(documents) - len(fresh):
        report.count("duplicates", len(documents) - len(fresh))
    return fresh


def tally(scores: Sequence[Score], report: Report, info: ScorerInfo) -> None:
    """Count documents and tokens for the run's summary, and documents that are empty, cut or read in windows."""
    if not scores:
        return
    values, tokens, windows, _best, truncated, *_ = zip(*scores, strict=True)
    report.count("documents", len(scores))
    report.count("tokens", sum(tokens))
    if info.scale != UNSCORED:
        report.count("empty", values.count(None))
    report.count("truncated", sum(truncated))
    report.count("windowed", len(scores) - windows.count(1) - windows.count(0))


def check_language(query: Queries, documents: Sequence[Document], info: ScorerInfo, report: Report) -> None:
    """Warn once when an English-only model is given text of other scripts or languages."""
    if not info.english_only:
        return
    query = query if isinstance(query, str) else "\n".join(query)
    texts = [document.text for document in documents[:200]]
    what = "not in Latin script" if mostly_foreign([query, *texts]) else other_language(query, texts)
    if what:
        report.warn(
            f"the text is mostly {what}, and the built-in model knows English only: use a multilingual "
            "model, e.g. `-m BAAI/bge-reranker-v2-m3`"
        )
