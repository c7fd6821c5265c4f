"""Pairs to batches: grouped by query, equal texts once, limited by documents, bytes and tokens.

A batch knows the positions of its documents in the caller's list, so replies may arrive in any order. No network here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from rerank_cli.errors import UsageError
from rerank_cli.scorers.remote.providers import Provider, load_table
from rerank_cli.text import encodable, has_surrogates, is_blank, is_invisible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rerank_cli.records import Pair
    from rerank_cli.scorers.remote.wire import Text
    from rerank_cli.settings import RemoteSettings

BLANK_QUERY = "invalid request: query must not be empty or be only whitespace"  # Cohere's text
BYTES_PER_TOKEN = 4  # of English text; other scripts need about one token per 3 bytes
OVERHEAD = 40  # bytes of JSON around a document: quotes, comma, {"text": …}, some escapes
TOKEN_SHARE = 0.9  # of a token limit: tokens are estimated


class Item(NamedTuple):
    """A text to send, its first pair, its size, and the positions of its documents in the caller's list."""

    pair: Pair
    text: Text
    size: int  # bytes as JSON, about
    tokens: int  # estimated
    places: list[int]


@dataclass(slots=True)
class QueryGroup:
    """All texts of one query."""

    query: str
    query_tokens: int
    items: list[Item] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one request carries."""

    group: QueryGroup
    items: Sequence[Item]

    @property
    def tokens(self) -> int:
        """Estimated tokens as providers count them: the query once per document."""
        return self.group.query_tokens * len(self.items) + sum(item.tokens for item in self.items)

    @property
    def documents(self) -> int:
        """How many of the caller's documents it scores."""
        return sum(len(item.places) for item in self.items)

    def halves(self) -> tuple[Batch, Batch]:
        """Two smaller batches; only for batches of two and more."""
        middle = (len(self.items) + 1) // 2
        return Batch(self.group, self.items[:middle]), Batch(self.group, self.items[middle:])


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of a request."""

    documents: int
    body: int  # bytes
    tokens: int | None  # estimated


def estimate_tokens(text: str) -> tuple[int, int]:
    """(tokens, bytes) of a text by its length alone: 4 bytes per token for ASCII, 3 for other scripts."""
    if text.isascii():
        return -(-len(text) // BYTES_PER_TOKEN), len(text)
    size = len(text.encode("utf-8", "replace"))
    return -(-size // (BYTES_PER_TOKEN - 1)), size


def text_of(text: str) -> str | None:
    """The text as it is sent, None if nothing in it is visible."""
    if is_invisible(text):
        return None
    return encodable(text) if has_surrogates(text) else text


def group_pairs(
    pairs: Iterable[Pair], make: Callable[[str], Text | None] = text_of, *, ask: Callable[[str], str] = str, share: bool
) -> tuple[list[QueryGroup], list[int]]:
    """Pairs by query, in order of first sight, and the positions of blank texts, which are never sent.

    `make` gives what is sent for a text, None for nothing; `ask` what is sent for a query. With `share`, equal texts of
    a query are sent once: not for listwise models, whose scores depend on the other documents. Raises UsageError: a
    blank query.
    """
    groups: dict[str, QueryGroup] = {}
    seen: dict[tuple[str, str], Item] = {}
    blank: list[int] = []
    for place, pair in enumerate(pairs):
        known = seen.get((pair.query, pair.text)) if share else None
        if known:
            known.places.append(place)
            continue
        text = make(pair.text)
        if text is None:
            blank.append(place)
            continue
        if pair.query not in groups:
            groups[pair.query] = new_group(pair.query, ask)
        tokens, size = estimate_tokens(pair.text)
        item = Item(pair, text, size + OVERHEAD, tokens, [place])
        groups[pair.query].items.append(item)
        if share:
            seen[pair.query, pair.text] = item
    return list(groups.values()), blank


def new_group(query: str, ask: Callable[[str], str] = str) -> QueryGroup:
    """A group without texts. Raises UsageError: the query is blank."""
    if is_blank(query):
        raise UsageError(BLANK_QUERY, "a query needs at least one word")
    asked = ask(query)
    return QueryGroup(encodable(asked), estimate_tokens(asked)[0])


def find_bounds(provider: Provider, remote: RemoteSettings, max_chunks: int | None) -> Bounds:
    """The limits of a request: --batch-docs within the provider's hard limit, else the provider's default.

    Raises UsageError: --batch-docs is beyond what the provider accepts.
    """
    hard = provider.hard_docs
    if hard and provider.max_chunks == "max_chunks_per_doc" and max_chunks:
        hard = max(1, hard // max_chunks)  # Cohere v1 limits documents times chunks
    asked = remote.batch_docs
    if asked is not None and asked < 1:
        raise UsageError("--batch-docs must be at least 1", "leave it out, or give a number")
    if asked and hard and asked > hard:
        hint = f"--batch-docs {hard} or fewer"
        raise UsageError(f"{provider.shown} takes at most {hard:,} documents in a request", hint)
    documents = asked or min(provider.max_docs, hard or provider.max_docs)
    tokens = int(provider.request_tokens * TOKEN_SHARE) if provider.request_tokens else None
    return Bounds(documents, provider.max_body or load_table().max_body, tokens)


def cut(groups: Iterable[QueryGroup], bounds: Bounds, cap: Callable[[], int]) -> Iterator[Batch]:
    """Batches, lazily; `cap()` may shrink meanwhile. A text beyond all limits gets a batch of its own."""
    for group in groups:
        start = 0
        while start < len(group.items):
            end = _fill(group, start, bounds, cap())
            yield Batch(group, group.items[start:end])
            start = end


def _fill(group: QueryGroup, start: int, bounds: Bounds, cap: int) -> int:
    size, tokens, end = 0, 0, start
    for end in range(start, min(len(group.items), start + cap)):
        item = group.items[end]
        size += item.size
        tokens += item.tokens + group.query_tokens
        if end > start and (size > bounds.body or (bounds.tokens and tokens > bounds.tokens)):
            return end
    return end + 1


def needs_split(model: str, groups: Iterable[QueryGroup], bounds: Bounds, *, allowed: bool) -> bool:
    """Whether a query's documents need several requests. Raises UsageError: they do, and it is not `allowed`."""
    split = False
    for group in groups:
        n = sum(1 for _ in cut([group], bounds, lambda: bounds.documents))
        if n > 1 and not allowed:
            raise no_split(model, f"{len(group.items):,} documents would need {n} requests")
        split = split or n > 1
    return split


def no_split(model: str, why: str) -> UsageError:
    """A listwise model that would have to see the documents of a query in several requests."""
    message = f"{model} compares all documents of a request with each other: {why}, whose scores are not comparable"
    return UsageError(message, "send fewer documents, raise --batch-docs, or accept it with --allow-split")
