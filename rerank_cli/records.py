"""The frozen records that travel between the stages: what was read, what was scored, what was ranked.

They hold data only: nothing here reads, scores, prints or imports anything beyond the standard library. Records made
once per document are named tuples: a frozen dataclass costs three times as much to build, and a million of them show.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Failure = dict[str, Any]  # `model` as it was named, `cause`, and the `exit_code` of a run without another model
Queries = str | tuple[str, ...]  # one, or several different ones whose scores are joined
Kind = Literal["line", "json", "row", "file"]
LOG_ODDS = "log-odds"  # the one scale of scores whose sigmoid is a probability
NO_ORDER = "replies_without_order"  # a counter of a chat model's usage
UNSCORED = "none"  # the scale where nothing is scored


@dataclass(frozen=True, slots=True)
class Source:
    """Where documents came from and how their raw bytes are to be read again.

    `kind` says what `Document.raw` holds: `line` the line's bytes without its end, `json` the JSON text of an object
    or a string, `row` the bytes of a CSV/TSV row without its end, `file` the path of a whole file.
    """

    name: str
    kind: Kind
    columns: tuple[str, ...] = ()  # of CSV/TSV
    header: bytes = b""  # the header row's bytes without its end
    delimiter: str = ","
    newline: bytes = b"\n"  # how the rows of CSV/TSV end, so that they are written as they were read
    members: Callable[[dict[str, Any]], dict[str, Any]] | None = None  # what names mean in an engine's records


class Document(NamedTuple):
    """One candidate: its 0-based input position, original bytes and the text to score."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs
    raw: bytes
    text: str
    source: Source
    id: str | None = None
    title_chars: int = 0  # length of the first rank field, which each window repeats; 0: nothing to repeat
    prior: float | None = None  # the retriever's own score, for fusion


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """What a request says beside its documents; None where it says nothing. `rerank_cli.request` fills it."""

    query: Queries | None = None
    rank_fields: tuple[str, ...] | None = None
    top_n: int | None = None
    max_tokens_per_doc: int | None = None
    max_chunks_per_doc: int | None = None
    return_documents: bool | None = None
    model: str | None = None  # ignored with a note
    id: str | None = None  # of a batch request
    query_id: str | None = None
    raw_scores: bool | None = None  # of HTTP requests, as the next
    truncate: bool | None = None  # TEI: False refuses texts that would be cut
    context: bool | None = None  # of HTTP requests: also the block for a prompt
    stages: dict[str, Any] = field(default_factory=dict)  # of StageSettings, by field
    return_best_chunk: bool | None = None


@dataclass(frozen=True, slots=True)
class DocumentStream:
    """Documents as they arrive, in chunks that fit into memory; `body` is known before the first chunk."""

    chunks: Iterator[list[Document]]
    body: RequestOptions = field(default_factory=RequestOptions)


@dataclass(frozen=True, slots=True)
class Request:
    """One query, or several, and all its documents, as `batch` and `serve` have them."""

    query: Queries
    documents: Sequence[Document]
    body: RequestOptions = field(default_factory=RequestOptions)


class Pair(NamedTuple):
    """What a scorer sees: a query, a text, and how many of the text's first characters each window repeats."""

    query: str
    text: str
    title_chars: int = 0


class Highlight(NamedTuple):
    """A sentence that answers, as character offsets in the scored text; its score is on the scale of the document's."""

    start: int
    end: int
    score: float | None


class Score(NamedTuple):
    """A scorer's result for a pair.

    `value` is the logit of a local model or the provider's score as received; None for a document without any token.
    """

    value: float | None
    tokens: int = 0  # of the document, after cutting
    windows: int = 1
    best: tuple[int, int] | None = None  # character offsets of the best window in the scored text
    truncated: bool = False
    by_query: tuple[float | None, ...] = ()  # of several queries: the value for each, which `value` joins
    spans: tuple[Highlight, ...] | None = None  # what a provider says answers, as Cohere's `relevant_spans`


class Place(NamedTuple):
    """What of a document stands in the prompt: so many tokens, and its scored text up to `end`."""

    tokens: int
    end: int
    truncated: bool


class Staged(NamedTuple):
    """What the stages after scoring did to a hit (`rerank_cli.stages`)."""

    final_score: float | None = None  # None: no stage changed the order
    effects: tuple[dict[str, Any], ...] = ()  # of each stage that did something to it, with `stage`, its name
    highlights: tuple[Highlight, ...] | None = None  # best first; None: not asked for
    place: Place | None = None  # None: no token budget


class Hit(NamedTuple):
    """One place in a ranking; `document` is a `Document`, or the caller's own object in the Python API."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs
    rank: int  # from 1
    relevance_score: float | None  # None: an empty document, always last
    document: Any
    score: Score
    fused_score: float | None = None
    staged: Staged | None = None

    @property
    def final_score(self) -> float | None:
        """What orders the hits if a stage changed their order; None if no stage did."""
        return self.staged.final_score if self.staged else None

    @property
    def highlights(self) -> tuple[Highlight, ...] | None:
        """The best sentences, best first; None if nobody asked for them."""
        return self.staged.highlights if self.staged else None

    @property
    def order_score(self) -> float | None:
        """The score that orders the hits: the final, else the fused, else the relevance score."""
        scores = (self.final_score, self.fused_score, self.relevance_score)
        return next((score for score in scores if score is not None), None)


@dataclass(frozen=True, slots=True)
class Meta:
    """How a ranking was made: no time and no id, so equal runs compare equal."""

    model: str
    revision: str | None
    backend: str
    dtype: str
    score_scale: str  # probability | logit | cosine | vendor …
    tokens: int = 0
    documents: int = 0
    truncated: int = 0
    warnings: tuple[str, ...] = ()
    usage: dict[str, float] = field(default_factory=dict)  # a provider's billed units
    stages: tuple[dict[str, Any], ...] = ()  # what each stage after scoring did (`stages.base.report_of`)
    fallback: tuple[Failure, ...] = ()  # the models that failed before `model` scored (`scorers.fallback`)
    queries: tuple[str, ...] = ()  # if there are several


@dataclass(frozen=True, slots=True)
class Ranking:
    """The hits of one query, best first, cut to top_n."""

    query: str
    hits: Sequence[Hit]
    meta: Meta
    sources: tuple[
        Source, ...
    ] = ()  # of all documents that were read: the output format must not depend on which are shown
    context: str | None = None  # of the Python API: the block for a prompt, if it was asked for
