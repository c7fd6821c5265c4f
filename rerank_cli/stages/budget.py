"""Token budget: as many of the best documents as fit into a prompt; the last one is cut, the others are left out.

Counted is what `-f context` writes: text, number, id and title. It does not know which tokenizer counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerank_cli.errors import UsageError
from rerank_cli.records import Place
from rerank_cli.sentences import character_start
from rerank_cli.stages.base import Change, with_effect
from rerank_cli.text import is_blank

if TYPE_CHECKING:
    from collections.abc import Callable

    from rerank_cli.records import Document, Hit
    from rerank_cli.settings import StageSettings
    from rerank_cli.stages.base import Context, Tokenizer

NAME = "budget"
WORD = 8  # tokens that are given up so that a text ends with a whole word


def make(settings: StageSettings) -> Callable[[list[Hit], Context], Change] | None:
    """The stage, None without a budget. Raises UsageError for a tokenizer that is not there, or has no use."""
    most, name = settings.max_context_tokens, settings.tokenizer
    if most is None:
        if name is not None:
            hint = "for example `--max-context-tokens 2000 --tokenizer ./tokenizer.json`"
            raise UsageError("--tokenizer needs --max-context-tokens", hint)
        return None
    file = None
    if name is not None:
        from rerank_cli.models.tokenizer_file import tokenizer_file

        file = tokenizer_file(name)

    def apply(hits: list[Hit], context: Context) -> Change:
        if context.tokenizer is None:
            raise ValueError("a token budget needs a tokenizer")
        kept = fill(hits, most, context.tokenizer(file))
        removed: dict[int, dict[str, Any]] = {hit.index: {} for hit in hits[len(kept) :]}
        places = [hit.staged.place for hit in kept if hit.staged and hit.staged.place]
        cut = sum(place.truncated for place in places)
        context.report.count("context_left_out", len(removed))
        context.report.count("context_cut", cut)
        facts = {"tokens": sum(place.tokens for place in places), "max_tokens": most, "truncated": cut}
        return Change(kept, removed, facts)

    return apply


def fill(hits: list[Hit], most: int, tokenizer: Tokenizer) -> list[Hit]:
    """The hits in their order until the budget is full, each with its place in the prompt."""
    from rerank_cli.writers.context import BETWEEN

    kept: list[Hit] = []
    left, between = most, ""
    for number, hit in enumerate(hits, start=1):
        place = place_of(number, hit.document, left, tokenizer, between)
        if place is None:
            break
        marked = with_effect(hit, NAME, {"tokens": place.tokens, "truncated": place.truncated})
        if marked.staged:
            kept.append(marked._replace(staged=marked.staged._replace(place=place)))
        left -= place.tokens
        between = BETWEEN if place.tokens else between
        if place.truncated:
            break
    return kept


def place_of(number: int, document: Document, left: int, tokenizer: Tokenizer, between: str = "") -> Place | None:
    """How much of a document fits into the tokens that are left, after what stands between it and the one before.

    None if nothing does.
    """
    from rerank_cli.writers.context import entry

    text = document.text
    if is_blank(text):  # it is not in the prompt
        return Place(0, 0, truncated=False)

    def count(end: int) -> int:
        return len(tokenizer.spans(between + entry(number, document, end), left + 1))

    whole = count(len(text))
    if whole <= left:
        return Place(whole, len(text), truncated=False)
    room = left - count(0)
    spans = tokenizer.spans(text, max(1, room) + WORD)
    while room > 0:
        end = character_start(text, spans[cut_at(text, spans, min(room, len(spans))) - 1][1])
        tokens = count(end)
        if tokens <= left and end:
            return Place(tokens, end, truncated=True)
        room -= max(1, tokens - left)
    return None


def cut_at(text: str, spans: list[tuple[int, int]], room: int) -> int:
    """How many of `room` tokens to keep: to the end of a word if one ends among the last, else all."""
    for count in range(room, max(0, room - WORD), -1):
        end = spans[count - 1][1]
        if end >= len(text) or not (text[end - 1].isalnum() and text[end].isalnum()):
            return count
    return room
