"""The core that every command calls: documents to pairs, pairs to scores, scores to a ranking, in bounded memory.

With `top_n` only the best so far are kept between chunks, so memory does not grow with the input. It reads and writes
nothing, and knows neither formats nor terminals.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from itertools import chain, count, repeat
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

from rerank_cli import ranking
from rerank_cli.errors import InputError, NonFiniteError, RemoteError
from rerank_cli.language import mostly_foreign, other_language
from rerank_cli.records import LOG_ODDS, Hit, Pair, Ranking, Score
from rerank_cli.scorers.base import DocumentError
from rerank_cli.scorers.meta import meta_of
from rerank_cli.text import is_blank

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rerank_cli.records import Document, Source
    from rerank_cli.report import Report
    from rerank_cli.scorers.base import Advance, Scorer, ScorerInfo
    from rerank_cli.settings import RankSettings

EMPTY = Score(None, 0, 0)
# Named tuples from rows without a Python call each: a million hits are made in a third of the time.
make_pair = partial(tuple.__new__, Pair)
make_hit = partial(tuple.__new__, Hit)


def rank(
    query: str,
    chunks: Iterable[list[Document]],
    scorer: Scorer,
    settings: RankSettings,
    report: Report,
    advance: Advance | None = None,
) -> Ranking:
    """Rank all documents of a stream for one query. Raises what readers and scorer raise; no partial result."""
    kept: list[Document] = []
    scores: list[Score] = []
    seen: set[bytes] = set()
    sources: dict[int, Source] = {}
    if scorer.info.whole_query:
        chunks = [list(chain.from_iterable(chunks))]
    for number, chunk in enumerate(chunks):
        sources |= {id(document.source): document.source for document in chunk}  # by identity: hashing would cost more
        documents = without_repeats(chunk, seen, report) if settings.stages.dedupe else chunk
        if number == 0:
            check_language(query, documents, scorer.info, report)
        new = score_documents(query, documents, scorer, settings, advance)
        tally(new, report)
        kept += documents
        scores += new
        kept, scores = trim(kept, scores, settings, scorer.info)
    ranking = assemble(query, kept, scores, scorer.info, settings, report)
    ranking = with_highlights(ranking, scorer, settings)
    return replace(ranking, meta=replace(ranking.meta, usage=scorer.usage()), sources=tuple(sources.values()))


def assemble(
    query: str,
    documents: Sequence[Document],
    scores: Sequence[Score],
    info: ScorerInfo,
    settings: RankSettings,
    report: Report,
) -> Ranking:
    """The ranking of documents by their scores, one per document and all finite: the last step of every command.

    Raises UsageError for a stage that cannot work on these scores.
    """
    if not settings.stages.active:
        return Ranking(query, select(documents, scores, settings, info), meta_of(info, settings, report))
    from rerank_cli import stages
    from rerank_cli.scorers.tokenizing import tokenizer_of

    hits = select(documents, scores, replace(settings, top_n=None, keep_order=False), info)
    fused = settings.fusion is not None
    open_tokenizer = partial(tokenizer_of, info)
    context = stages.Context(query, info.scale, report, settings.raw_scores, fused, settings.top_n, open_tokenizer)
    hits, done = stages.run(hits, settings.stages, context)
    if settings.keep_order:
        hits.sort(key=lambda hit: hit.index)
    return Ranking(query, hits, replace(meta_of(info, settings, report), stages=done))


def with_highlights(ranking: Ranking, scorer: Scorer, settings: RankSettings) -> Ranking:
    """The ranking with its best sentences, if they are asked for or come from a provider. Raises as `Scorer.score`."""
    if not settings.stages.highlight and scorer.info.backend != "remote":
        return ranking
    from rerank_cli.highlighting import highlighted

    return highlighted(ranking, scorer, settings)


class UniquePairs(NamedTuple):
    """The distinct pairs of some documents, and for each document the position of its pair (-1: blank, no pair).

    None instead of positions: every document has a pair of its own, in order (the usual case, four times as fast).
    """

    pairs: list[Pair]
    places: Sequence[int] | None

    def spread(self, scores: list[Score]) -> list[Score]:
        """The scores of the documents from those of the pairs."""
        if self.places is None:
            return scores
        return [EMPTY if place < 0 else scores[place] for place in self.places]


def score_documents(
    query: str, documents: Sequence[Document], scorer: Scorer, settings: RankSettings, advance: Advance | None = None
) -> list[Score]:
    """One score per document, in order; identical texts are scored once, blank ones not at all."""
    unique = unique_pairs(query, documents)
    return unique.spread(score_pairs(unique.pairs, documents, scorer, settings, advance))


def unique_pairs(query: str, documents: Sequence[Document]) -> UniquePairs:
    """The distinct pairs to score. Blank documents have none."""
    texts = [document.text for document in documents]
    if len(set(texts)) == len(texts) and not any(map(is_blank, texts)):
        titles = [document.title_chars for document in documents]
        return UniquePairs(list(map(make_pair, zip(repeat(query), texts, titles))), None)
    first: dict[tuple[str, int], int] = {}
    places = []
    for document in documents:
        text = document.text
        if is_blank(text):
            places.append(-1)
        else:
            places.append(first.setdefault((text, document.title_chars), len(first)))
    return UniquePairs([Pair(query, text, title_chars) for text, title_chars in first], places)


def score_pairs(
    pairs: Sequence[Pair],
    documents: Sequence[Document],
    scorer: Scorer,
    settings: RankSettings,
    advance: Advance | None,
) -> list[Score]:
    """Scores of the pairs, every one a finite number or None.

    Raises InputError, RemoteError or NonFiniteError with the document's name, and what else the scorer raises.
    """
    try:
        scores = scorer.score(pairs, settings.limits, advance) if pairs else []
    except DocumentError as error:
        name = describe(document_of(error.pair, documents))
        raise InputError(f"document {name} {error.problem}", error.hint) from None
    except RemoteError as error:
        name_pair(error, documents)
        raise
    require_finite(scores, pairs, documents)
    return scores


def require_finite(scores: Sequence[Score], pairs: Sequence[Pair], documents: Sequence[Document]) -> None:
    """Raise NonFiniteError naming query and document if a score is NaN or infinite: such scores cannot be ordered."""
    if all(value is None or isfinite(value) for value, *_ in scores):
        return
    number = next(i for i, score in enumerate(scores) if score.value is not None and not isfinite(score.value))
    raise NonFiniteError(
        f"the model gave {scores[number].value} for query {pairs[number].query[:80]!r} and document "
        f"{describe(document_of(pairs[number], documents))}",
        "such scores cannot be ordered; for a local model, try `--dtype fp32` and `rerank doctor -m MODEL`",
    )


def name_pair(error: RemoteError, documents: Sequence[Document]) -> None:
    """Add query and document to the message of an error that is about one pair."""
    if error.pair is not None:
        document = describe(document_of(error.pair, documents))
        error.message += f"; at query {error.pair.query[:80]!r}, document {document}"


def document_of(pair: Pair, documents: Sequence[Document]) -> Document:
    """The first document that a pair stands for."""
    return next(document for document in documents if (document.text, document.title_chars) == pair[1:])


def describe(document: Document) -> str:
    """How messages name a document: its id, else its input position."""
    return repr(document.id) if document.id is not None else f"{document.index} (0-based) of {document.source.name}"


def trim(
    documents: list[Document], scores: list[Score], settings: RankSettings, info: ScorerInfo
) -> tuple[list[Document], list[Score]]:
    """What can still reach the result, in input order so that ties hold: nothing below threshold or top_n can."""
    if settings.fusion or settings.keep_order or settings.stages.needs_all:
        return documents, scores
    keep: list[int] | None = None
    if settings.min_score is not None:
        keep = [i for i, score in enumerate(scores) if passes(score.value, settings, info)]
    if settings.top_n is not None and len(scores) > settings.top_n:
        positions = range(len(scores)) if keep is None else keep
        best = ranking.order([scores[i].value for i in positions])[: settings.top_n]
        keep = sorted(positions[i] for i in best)
    if keep is None:
        return documents, scores
    return [documents[i] for i in keep], [scores[i] for i in keep]


def select(
    documents: Sequence[Document], scores: Sequence[Score], settings: RankSettings, info: ScorerInfo
) -> list[Hit]:
    """The hits in their final order: fused or by score, cut by threshold and top_n; `keep_order` keeps input order."""
    values = [score.value for score in scores]
    shown = show_all(values, settings, info)
    fused: list[float | None] = [None] * len(values)
    if settings.fusion:
        # Without a score of the retriever (an empty document, which is not fused) others must not lose by it.
        priors = [-math.inf if document.prior is None else document.prior for document in documents]
        base = shown if settings.fusion == "weighted" else values
        fused = ranking.fuse(base, priors, settings.fusion, settings.weight)
    ordered = ranking.order(fused, values) if settings.fusion else ranking.order(values)
    if settings.min_score is not None:
        ordered = [i for i in ordered if (number := shown[i]) is not None and number >= settings.min_score]
    ordered = ordered if settings.top_n is None else ordered[: settings.top_n]
    places = {position: place for place, position in enumerate(ordered, start=1)} if settings.keep_order else None
    if places:
        ordered = sorted(ordered)
    ranks = map(places.__getitem__, ordered) if places else count(1)
    columns = ([column[i] for i in ordered] for column in (shown, documents, scores, fused))
    # The ranks and what the stages did may be endless.
    rows = zip([documents[i].index for i in ordered], ranks, *columns, repeat(None), strict=False)
    return list(map(make_hit, rows))


def show_all(values: Sequence[float | None], settings: RankSettings, info: ScorerInfo) -> list[float | None]:
    """The relevance scores that are shown: the sigmoid of log-odds, other scales unchanged."""
    if settings.raw_scores or info.scale != LOG_ODDS:
        return list(values)
    sigmoid = ranking.sigmoid
    return [None if value is None else sigmoid(value) for value in values]


def passes(value: float | None, settings: RankSettings, info: ScorerInfo) -> bool:
    """Whether --min-score lets a document through: it compares the number shown; empty documents never pass."""
    (shown,) = show_all([value], settings, info)
    return settings.min_score is None or (shown is not None and shown >= settings.min_score)


def without_repeats(documents: Sequence[Document], seen: set[bytes], report: Report) -> list[Document]:
    """Documents whose scored text did not come before. `seen` holds 16-byte digests, not texts."""
    from hashlib import blake2b

    fresh = []
    for document in documents:
        digest = blake2b(document.text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if digest not in seen:
            seen.add(digest)
            fresh.append(document)
    if len(documents) - len(fresh):
        report.count("duplicates", len(documents) - len(fresh))
    return fresh


def tally(scores: Sequence[Score], report: Report) -> None:
    """Count documents and tokens for the run's summary, and documents that are empty, cut or read in windows."""
    if not scores:
        return
    values, tokens, windows, _best, truncated, _spans = zip(*scores, strict=True)
    report.count("documents", len(scores))
    report.count("tokens", sum(tokens))
    report.count("empty", values.count(None))
    report.count("truncated", sum(truncated))
    report.count("windowed", len(scores) - windows.count(1) - windows.count(0))


def check_language(query: str, documents: Sequence[Document], info: ScorerInfo, report: Report) -> None:
    """Warn once when an English-only model is given text of other scripts or languages."""
    if not info.english_only:
        return
    texts = [document.text for document in documents[:200]]
    what = "not in Latin script" if mostly_foreign([query, *texts]) else other_language(query, texts)
    if what:
        report.warn(
            f"the text is mostly {what}, and the built-in model knows English only: use a multilingual "
            "model, e.g. `-m BAAI/bge-reranker-v2-m3`"
        )
