"""A query and a part of a document to one input of token ids, by a pair template or a chat template.

A prompt knows one tokenizer and the model's length; it knows nothing of windows' scores, engines or rankings.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol

from rerank_cli.errors import ModelError, UsageError
from rerank_cli.models import chat as chats
from rerank_cli.models import templates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerank_cli.models import LocalModel
    from rerank_cli.report import Report
    from rerank_cli.scorers.encoding import Encoder
    from rerank_cli.scorers.prefixes import Tokens

# What templates of many families write as one token.
CONTROL = re.compile(r"<\|[^<>|\s]+\|>|</?s>|<(?:bos|eos|start_of_turn|end_of_turn)>|\[/?INST\]")
SEEN = 4096  # cut queries that are remembered
SPARE = 8  # tokens beyond a full window that are rendered and then cut, because tokens merge at a window's edges


class DocumentSlice(NamedTuple):
    """A part of a document: tokens start ≤ t < end, after the first `repeated` tokens again."""

    text: str
    tokens: Tokens
    start: int
    end: int
    repeated: int = 0


class Prompt(Protocol):
    """Builds inputs of at most the model's length."""

    def room(self, query: str) -> int:
        """Document tokens that fit besides a query; at least one."""

    def build(self, query: str, document: DocumentSlice) -> tuple[list[int], list[int]]:
        """Token ids and segment ids of one input. The query is cut only beyond half of what the model can read."""


def make_prompt(model: LocalModel, encoder: Encoder, instruction: str | None, report: Report) -> Prompt:
    """The prompt of a model. Raises ModelError or UsageError where template, tokenizer and instruction do not fit."""
    if model.chat is not None:
        if model.template and model.family == "classification" and encoder.joins_pairs():
            raise templates.takes_pairs(model.name)
        text = chats.render(model.chat, instruction if instruction is not None else model.instruction, model.folder)
        for token in foreign_controls(text, encoder):
            report.note(f"the template's `{token}` is not a control token of {model.name}: it is read as text")
        return ChatPrompt(encoder, text, model.max_tokens, report)
    if instruction is not None and model.instruction is None:
        raise UsageError(f"{model.name} does not take an instruction", "leave `--instruction` out")
    return PairPrompt(encoder, model.max_tokens, report, instruction or model.instruction or "")


def foreign_controls(template: str, encoder: Encoder) -> list[str]:
    """What a template writes as control tokens and the tokenizer does not know as such: it would be read as text."""
    known = encoder.added()
    return [token for token in dict.fromkeys(CONTROL.findall(template)) if token not in known]


class _Queries:
    """Counts each query that had to be cut once."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._seen: set[str] = set()

    def cut(self, query: str) -> None:
        if len(self._seen) >= SEEN:  # bounded, for servers
            self._seen.clear()
        if query not in self._seen:
            self._seen.add(query)
            self._report.count("query_cut")


class PairPrompt:
    """Query and document joined by the tokenizer's own pair template; `prefix` goes before every query."""

    def __init__(self, encoder: Encoder, max_tokens: int, report: Report, prefix: str = "") -> None:
        self._encoder = encoder
        self._template = encoder.template()
        self._free = max_tokens - self._template.specials
        self._prefix = prefix
        self._queries = _Queries(report)

    def room(self, query: str) -> int:
        """See `Prompt.room`."""
        return max(1, self._free - len(self._query(query)))

    def build(self, query: str, document: DocumentSlice) -> tuple[list[int], list[int]]:
        """See `Prompt.build`."""
        ids = document.tokens.ids[document.start : document.end]
        if document.repeated and document.start >= document.repeated:
            ids = document.tokens.ids[: document.repeated] + ids
        return self._template.build(self._query(query), ids)

    def _query(self, query: str) -> tuple[int, ...]:
        ids: tuple[int, ...] = self._encoder.query(self._prefix + query)
        half = self._free // 2
        if len(ids) > half:
            self._queries.cut(query)
            return ids[:half]
        return ids


class ChatPrompt:
    """A rendered chat template with placeholders for query and document.

    The text between two control tokens is tokenised whole, so that tokens merge over the edges of query and document
    as they did in training; control tokens come from the template only. Too long: the first tokens up to the limit less
    those that follow the document, then these (an answer is read from the last position).
    """

    def __init__(self, encoder: Encoder, text: str, max_tokens: int, report: Report) -> None:
        self.text = text
        self._encoder = encoder
        self._parts = _split(text, encoder)
        self._max_tokens = max_tokens
        self._queries = _Queries(report)
        self._check(text)
        self.suffix = _common_tail(self.ids("0", "0"), self.ids("1 2 3 4", "1 2 3 4"))
        self._query_last = text.rindex(templates.QUERY) > text.rindex(templates.DOCUMENT)
        self._half = (max_tokens - len(self.ids("", ""))) // 2
        if self._half < 1:
            raise ModelError(f"the chat template alone is longer than the model's {max_tokens} tokens")
        self._cut = lru_cache(maxsize=1024)(self._cut_query)
        self._room = lru_cache(maxsize=1024)(self._room_besides)
        self._tail = lru_cache(maxsize=1024)(self._after_document)

    def ids(self, query: str, document: str) -> list[int]:
        """Token ids of a whole prompt, uncut."""
        ids: list[int] = []
        for part in self._parts:
            if isinstance(part, int):
                ids.append(part)
            else:
                ids += self._encoder.ids(_filled(part, query, document))
        return ids

    def room(self, query: str) -> int:
        """See `Prompt.room`."""
        return self._room(query)

    def build(self, query: str, document: DocumentSlice) -> tuple[list[int], list[int]]:
        """See `Prompt.build`."""
        query = self._cut(query)
        ids = self.ids(query, self._text(query, document))
        if len(ids) > self._max_tokens:
            tail = self._tail(query) if self._query_last else self.suffix
            ids = ids[: self._max_tokens - len(tail)] + tail
        return ids, [0] * len(ids)

    def _text(self, query: str, document: DocumentSlice) -> str:
        """The characters of a part of a document; a whole document keeps its last white space."""
        offsets = document.tokens.offsets
        if offsets is None:
            return document.text
        spare = SPARE if document.end - document.start + document.repeated >= self._room(query) else 0
        last = min(document.end + spare, len(offsets))
        end = len(document.text) if last == len(offsets) else offsets[last - 1][1]
        start = 0 if document.start == 0 else offsets[document.start][0]
        part = document.text[start:end]
        if document.repeated and document.start >= document.repeated:
            part = document.text[: offsets[document.repeated][0]] + part
        return part

    def _after_document(self, query: str) -> list[int]:
        return _common_tail(self.ids(query, "0"), self.ids(query, "1 2 3 4"))

    def _room_besides(self, query: str) -> int:
        return max(1, self._max_tokens - len(self.ids(self._cut(query), "")))

    def _cut_query(self, query: str) -> str:
        (tokens,) = self._encoder.documents([query], long=self._half, most=self._half + SPARE)
        if tokens.offsets is None or len(tokens.ids) <= self._half:
            return query
        self._queries.cut(query)
        return query[: tokens.offsets[self._half - 1][1]]

    def _check(self, text: str) -> None:
        """Tokenising the parts must give the tokens of the whole text."""
        pieces = _filled(text, "red deer", "A stag, 12 points.").split(templates.BREAK)
        whole = [number for piece in pieces for number in self._encoder.controlled(piece)]
        if whole != self.ids("red deer", "A stag, 12 points."):
            hint = "please report this model"
            raise ModelError("the tokenizer treats text after a control token in an unsupported way", hint)


def _filled(text: str, query: str, document: str) -> str:
    """A template, or a part of one, with both texts in their places."""
    return text.replace(templates.QUERY, query).replace(templates.DOCUMENT, document)


def _split(text: str, encoder: Encoder) -> list[int | str]:
    """Control tokens as ids, and the texts between them; BREAK ends a text, too."""
    controls = encoder.controls()
    cuts = [*sorted(controls, key=len, reverse=True), templates.BREAK]
    pieces = re.split(f"({'|'.join(map(re.escape, cuts))})", text)
    return [controls.get(piece, piece) for piece in pieces if piece and piece != templates.BREAK]


def _common_tail(first: Sequence[int], second: Sequence[int]) -> list[int]:
    """The tokens that two prompts share at their ends: what follows the document, whatever it says."""
    count = 0
    while count < min(len(first), len(second)) and first[-1 - count] == second[-1 - count]:
        count += 1
    return list(first[len(first) - count :]) if count < min(len(first), len(second)) else []
