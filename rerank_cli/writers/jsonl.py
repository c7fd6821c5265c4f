"""JSON Lines: each record's own bytes with its rank and scores inserted before the closing brace.

Records are never parsed or re-serialised, so big integers, `1.10`, key order and lone surrogates survive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerank_cli.hits import column
from rerank_cli.writers.members import Names, encode_string, one_line, splice
from rerank_cli.writers.results import blocks_of, id_member, row_cells, score_members, shape_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rerank_cli.records import Document, Hit, Ranking
    from rerank_cli.report import Report
    from rerank_cli.settings import OutputSettings

# The byte before the closing brace of an object that is empty or was pretty-printed.
_LOOSE_ENDS = frozenset(b"{ \t\r\n")


def blocks(ranking: Ranking, settings: OutputSettings, report: Report) -> Iterator[bytes]:
    """The ranking as JSON Lines, some records at a time."""
    shape = shape_of(ranking, settings)
    names = Names((settings.result_key,) if settings.result_key else shape.keys)
    for hits in blocks_of(ranking.hits):
        yield b"".join(lines(hits, nested(score_members(hits, shape), settings.result_key), names, settings, report))


def nested(members: list[bytes], result_key: str | None) -> list[bytes]:
    """The members of each hit, as one object under `result_key` if that is given."""
    if not result_key:
        return members
    key = encode_string(result_key)
    return [b"%b:{%b}" % (key, member) for member in members]


def lines(
    hits: Sequence[Hit], members: list[bytes], names: Names, settings: OutputSettings, report: Report
) -> list[bytes]:
    """One line per hit. The usual block, objects without our keys, is recognised as a whole and is very cheap."""
    if not settings.documents:
        return [b"{%b%b}\n" % (member, id_member(hit, settings)) for hit, member in zip(hits, members, strict=True)]
    raws = column(hits, "raw")
    kinds = {source.kind for source in column(hits, "source")}
    if kinds == {"json"} and are_plain(raws, names):
        return [b"%b,%b}\n" % (raw[:-1], member) for raw, member in zip(raws, members, strict=True)]
    if kinds == {"line"} and "text" not in names.names:
        texts = [encode_string(text) for text in column(hits, "text")]
        return [b'{"text":%b,%b}\n' % pair for pair in zip(texts, members, strict=True)]
    return [record(hit.document, member, names, report) for hit, member in zip(hits, members, strict=True)]


def are_plain(raws: list[bytes], names: Names) -> bool:
    """Whether all are objects on one line with at least one member and none of the names."""
    if {raw[0] for raw in raws} != {0x7B} or {raw[-1] for raw in raws} != {0x7D}:  # { and }
        return False
    if not {raw[-2] for raw in raws}.isdisjoint(_LOOSE_ENDS):
        return False
    joined = b"".join(raws)
    return b"\n" not in joined and b"\r" not in joined and names.absent(joined)


def record(document: Document, member: bytes, names: Names, report: Report) -> bytes:
    """One line, whatever the document is."""
    base, replaced = names.removed(object_of(document))
    report.replace(replaced)
    return splice(base, member) + b"\n"


def object_of(document: Document) -> bytes:
    """A document as a JSON object on one line: objects as they are, texts as `text`, rows by column, paths as `id`."""
    kind, raw = document.source.kind, document.raw
    if kind == "line":
        return b'{"text":%b}' % encode_string(document.text)
    if kind == "file":
        return b'{"id":%b}' % encode_string(raw.decode("utf-8", "replace"))
    if kind == "row":
        pairs = [b"%b:%b" % (encode_string(key), encode_string(value)) for key, value in row_cells(document)]
        return b"{%b}" % b",".join(pairs)
    flat = one_line(raw)
    return b'{"text":%b}' % flat if flat.startswith(b'"') else flat
