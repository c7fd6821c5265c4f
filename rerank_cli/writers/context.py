"""The block for a prompt: documents with number, id and title, which no document can forge.

A line that begins with `[` begins a document; every line of a document's text is indented, its id and title are on one
line. What a text says inside its lines is not changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerank_cli.text import is_blank, on_one_line, replace_surrogates, to_utf8, visible
from rerank_cli.writers.results import id_of, title_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rerank_cli.records import Document, Hit, Ranking

INDENT = "    "
CUT = " …"
BETWEEN = "\n"  # documents


def blocks(ranking: Ranking) -> Iterator[bytes]:
    """The block, document by document; blank documents are left out."""
    between = ""
    for text in entries(ranking):
        yield to_utf8(between + text)
        between = BETWEEN


def block_of(ranking: Ranking) -> str:
    """The block as one text."""
    return BETWEEN.join(entries(ranking))


def entries(ranking: Ranking) -> Iterator[str]:
    """The entry of each hit, cut where the token budget says."""
    for hit in ranking.hits:
        if not is_blank(hit.document.text):
            yield entry(hit.rank, hit.document, end_of(hit))


def end_of(hit: Hit) -> int:
    """Where the text of a hit ends in the prompt."""
    place = hit.staged.place if hit.staged else None
    return place.end if place else len(hit.document.text)


def entry(number: int, document: Document, end: int) -> str:
    """One document: `[number] (id) title` and its text up to `end`, indented; an ellipsis where it is cut."""
    text = document.text[:end].rstrip() + (CUT if end < len(document.text) else "")
    name, title = id_of(document), title_of(document)
    head = [f"[{number}]"]
    if name is not None:
        head.append(f"({one_line(name)})")
    if title and not begins_with(document.text, title):
        head.append(one_line(title))
    lines = replace_surrogates(text).splitlines()
    return " ".join(head) + "\n" + "".join(f"{INDENT}{line}".rstrip() + "\n" for line in lines)


def begins_with(text: str, title: str) -> bool:
    """Whether a text says its title itself, alone or as `title: …` (rank fields)."""
    first, title = on_one_line(text[: len(title) + 100].lstrip().partition("\n")[0]).strip(), on_one_line(title).strip()
    return first.startswith(title) or (first.endswith(title) and len(first) < len(title) + 20)


def one_line(text: str) -> str:
    """An id or a title on one line, whatever it holds."""
    return on_one_line(visible(text.replace("\r", " "))).strip()
