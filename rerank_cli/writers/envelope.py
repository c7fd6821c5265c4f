"""The JSON format: one object with all results and their `meta`; no time and no id, so that equal runs compare equal.

One line per result and one for `meta`, readable for people and `jq`. Documents keep their bytes.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from rerank_cli.version import __version__
from rerank_cli.writers.jsonl import nested, object_of
from rerank_cli.writers.members import encode, encode_string, one_line
from rerank_cli.writers.results import blocks_of, id_member, offsets, score_members, shape_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rerank_cli.records import Document, Hit, Meta, Ranking
    from rerank_cli.settings import OutputSettings

SCHEMA_VERSION = 1
_SEPARATOR = b",\n    "


def blocks(ranking: Ranking, settings: OutputSettings) -> Iterator[bytes]:
    """The envelope, some results at a time."""
    yield b'{\n  "results": ['
    separator = b"\n    "
    for objects in results(ranking, settings):
        yield separator + _SEPARATOR.join(objects)
        separator = _SEPARATOR
    yield b'%b],\n  "meta": %b\n}\n' % (b"\n  " if ranking.hits else b"", meta_object(ranking.meta))


def results(ranking: Ranking, settings: OutputSettings) -> Iterator[list[bytes]]:
    """The result objects, in blocks."""
    shape = shape_of(ranking, settings)
    for hits in blocks_of(ranking.hits):
        members = nested(score_members(hits, shape), settings.result_key)
        yield [b"{%b%b}" % (member, rest(hit, settings)) for hit, member in zip(hits, members, strict=True)]


def rest(hit: Hit, settings: OutputSettings) -> bytes:
    """What follows the scores: how a document was cut or read in windows, and the document itself, else its id."""
    score = hit.score
    windows = b""
    if score.windows > 1 or score.truncated:
        windows = b',"truncated":%b,"chunks":%d,"best_chunk":%b' % (
            b"true" if score.truncated else b"false",
            score.windows,
            offsets(score.best),
        )
    if settings.documents:
        return b'%b,"document":%b' % (windows, document_value(hit.document))
    return windows + id_member(hit, settings)


def document_value(document: Document) -> bytes:
    """A document as a JSON value: strings and lines as strings, the rest as objects."""
    if document.source.kind == "json":
        return one_line(document.raw)
    if document.source.kind == "line":
        return encode_string(document.text)
    return object_of(document)


def meta_object(meta: Meta) -> bytes:
    """The `meta` object, on one line."""
    members = {"schema_version": SCHEMA_VERSION, **asdict(meta), "tool": f"rerank-cli {__version__}"}
    optional = {name: members.pop(name) for name in ("usage", "stages", "fallback", "queries")}
    return encode(members | {name: value for name, value in optional.items() if value})
