"""Rankings for the tests of the writers, and one way to write them."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace

from rerank_cli.records import Document, Hit, Meta, Ranking, Score, Source
from rerank_cli.report import Report
from rerank_cli.settings import OutputSettings
from rerank_cli.terminal import Terminal
from rerank_cli.writers import write_ranking

QUERY = "What is the capital of the United States?"
META = Meta("builtin", "r1", "onnx", "int8", "probability", tokens=120, documents=6, truncated=1, warnings=("one",))
JSON = Source("docs.jsonl", "json")
LINE = Source("-", "line")
FILE = Source("files", "file")


def document(raw: bytes | str, source: Source = JSON, text: str | None = None, id: str | None = None) -> Document:  # noqa: A002 as the field is called
    """A document as a reader would make it; its index is set by `ranking`."""
    data = raw.encode() if isinstance(raw, str) else raw
    if text is None:
        text = text_of(data, source)
    return Document(0, data, text, source, id)


def text_of(data: bytes, source: Source) -> str:
    if source.kind != "json":
        return data.decode("utf-8", "replace")
    value = json.loads(data)
    found = value if isinstance(value, str) else value.get("text", "")
    return found if isinstance(found, str) else ""


def ranking(documents: Sequence[Document], scores: Sequence[float | None] | None = None, meta: Meta = META) -> Ranking:
    """Hits in the order given; scores fall from 0.9 unless given; indexes count from 3 so that they differ from ranks."""
    if scores is None:
        scores = [0.9 / (i + 1) for i in range(len(documents))]
    hits = [
        Hit(i + 3, i + 1, score, doc._replace(index=i + 3), Score(score, 7, 1))
        for i, (doc, score) in enumerate(zip(documents, scores, strict=True))
    ]
    return Ranking(QUERY, hits, meta)


def write(
    ranked: Ranking,
    form: str = "jsonl",
    *,
    tty: bool = False,
    columns: int = 80,
    env: dict[str, str] | None = None,
    report: Report | None = None,
    **settings: object,
) -> bytes:
    """What one ranking looks like in one format."""
    out = io.BytesIO()
    terminal = Terminal(
        stdin=io.BytesIO(),
        stdout=out,
        stderr=io.StringIO(),
        env={"LC_ALL": "C.UTF-8"} | (env or {}),
        stdout_tty=tty,
        columns=columns,
    )
    chosen = replace(OutputSettings(format=form), **settings)  # type: ignore[arg-type]
    write_ranking(ranked, chosen, terminal, report or Report())
    return out.getvalue()
