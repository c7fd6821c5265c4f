"""The text of an HTML page: what a reader sees, one block per line, without scripts, styles and tags.

The standard library's parser does the work, so a page that is not well-formed is read too.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

HIDDEN = frozenset({"script", "style", "template", "noscript", "svg", "head"})
INLINE = frozenset(
    {"a", "abbr", "b", "bdi", "bdo", "cite", "code", "data", "dfn", "em", "font", "i", "kbd", "mark", "q", "s", "samp"}
    | {"small", "span", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr", "del", "ins", "label"}
)
SUFFIXES = (".html", ".htm", ".xhtml")
_START = re.compile(
    r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html)[\s>]", re.IGNORECASE | re.DOTALL
)
_CHARSET = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_BLANKS = re.compile(r"[ \t\r\f\v\xa0]+")
_LINES = re.compile(r" ?\n[ \n]*")
HEAD = 4096  # bytes that may hold the declaration of the encoding


class _Text(HTMLParser):
    """Collects the text outside hidden elements; the title is shown though it stands in the head."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden: list[str] = []
        self._preformatted = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        """Hide what is in it, or begin a line."""
        if tag == "body":
            self._hidden.clear()  # also where the head was never closed
        if tag in HIDDEN:
            self._hidden.append(tag)
        self._preformatted += tag == "pre"
        self._break(tag)

    def handle_endtag(self, tag: str) -> None:
        """Show again what follows, and end a line."""
        if tag in self._hidden:
            del self._hidden[self._hidden.index(tag) :]
        self._preformatted -= tag == "pre" and self._preformatted > 0
        self._break(tag)

    def handle_data(self, data: str) -> None:
        """Keep what is seen."""
        if not self._hidden or (self.lasttag == "title" and self._hidden == ["head"]):
            self.parts.append(data if self._preformatted else data.replace("\n", " "))

    def _break(self, tag: str) -> None:
        if tag not in INLINE:
            self.parts.append("\n")


def is_html(name: str, text: str) -> bool:
    """Whether a file is HTML: by its name, or by how it begins."""
    return name.lower().endswith(SUFFIXES) or bool(_START.match(text[:HEAD]))


def declared_encoding(start: bytes) -> str | None:
    """The encoding that a page says it has; None if it does not say."""
    match = _CHARSET.search(start[:HEAD])
    return match[1].decode("ascii") if match else None


def html_text(page: str) -> str:
    """The text of a page."""
    parser = _Text()
    parser.feed(page)
    parser.close()
    return _LINES.sub("\n", _BLANKS.sub(" ", "".join(parser.parts))).strip()
