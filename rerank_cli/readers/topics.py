"""TREC topics: the classic form, whose tags are often left open, and XML. A topic becomes an object of its tags.

Its number is `id`. It does not choose which tag is the query.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from rerank_cli.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree.ElementTree import Element

TOPIC_TAGS = frozenset({"topic", "top", "query"})
NUMBER_NAMES = ("num", "number", "id", "qid")
OTHER_XML = "XML of another kind than TREC topics"
_START = re.compile(rb"<(?:\?xml|top|topics?|topic_?set|queries|parameters)\b", re.IGNORECASE)
_CLASSIC = re.compile(r"<top>(.*?)(?=</top>|<top>|\Z)", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(
    r"<(/?)(num|title|desc|narr|query|question|querytime|querytweettime|smry|con|fac|def|dom|head)\b[^>]*>",
    re.IGNORECASE,
)
_LABEL = re.compile(r"\s*(?:Number|Topic|Title|Description|Narrative|Summary|Concept\(s\)|Domain)\s*:", re.IGNORECASE)


def looks_like_topics(line: bytes) -> bool:
    """Whether a first line begins TREC topics or other XML."""
    return _START.match(line) is not None


def read_topics(text: str, name: str) -> Iterator[tuple[dict[str, str], str]]:
    """The topics of a text with their places. Raises InputError for XML that is broken, unsafe or of another kind."""
    if text.lstrip()[:5].lower() == "<top>":
        for number, match in enumerate(_CLASSIC.finditer(text), 1):
            line = text.count("\n", 0, match.start()) + 1
            yield _with_id(dict(_fields(match[1])), f"{name}:{line}", number)
        return
    for number, element in enumerate(_elements(text, name), 1):
        yield _with_id(_members(element), f"{name}: topic {number}", number)


def _fields(block: str) -> Iterator[tuple[str, str]]:
    """The tags of a classic topic; each text ends where the next tag begins."""
    import html

    tags = list(_TAG.finditer(block))
    for tag, following in pairwise([*tags, None]):
        if tag is None or tag[1]:
            continue
        content = block[tag.end() : following.start() if following else len(block)]
        label = _LABEL.match(content)
        yield tag[2].lower(), " ".join(html.unescape(content[label.end() if label else 0 :]).split())


def _with_id(topic: dict[str, str], where: str, number: int) -> tuple[dict[str, str], str]:
    name = next((topic.pop(key) for key in NUMBER_NAMES if topic.get(key)), "")
    if not name:
        raise InputError(
            f"topic {number} has no number", "a topic has `<num>`, or an attribute `number` or `id`", where
        )
    return {"id": name, **topic}, where


def _elements(text: str, name: str) -> list[Element]:
    """The topics of an XML text."""
    from xml.etree import ElementTree as ET

    if re.search(r"<!(?:DOCTYPE|ENTITY)", text, re.IGNORECASE):  # entities can grow without limit
        raise InputError("XML with a document type is not read", "remove the `<!DOCTYPE …>` declaration", name)
    try:
        root = ET.fromstring(text.lstrip())  # noqa: S314 no entities, see above
    except (ET.ParseError, ValueError, LookupError) as exc:
        line = getattr(exc, "position", (1, 0))[0]
        hint = "TREC topics are `<topic number=…>` in well-formed XML, or `<top>` with `<num>` and `<title>`"
        raise InputError(f"not valid XML: {exc}", hint, f"{name}:{line}") from exc
    found = [element for element in root if _tag(element) in TOPIC_TAGS] or ([root] if _tag(root) == "topic" else [])
    if not found:
        hint = "topics are `<topics><topic number=…>…`; convert other XML to JSON lines"
        raise InputError(f"{OTHER_XML}: its root is `<{_tag(root)}>`", hint, name)
    return found


def _members(element: Element) -> dict[str, str]:
    """Attributes and children of a topic as texts; the text of one without children is its title."""
    members = {key.lower(): value.strip() for key, value in element.attrib.items()}
    for child in element:
        label = _LABEL.match(content := "".join(child.itertext()))
        members.setdefault(_tag(child), " ".join(content[label.end() if label else 0 :].split()))
    if not len(element):
        members["title"] = " ".join((element.text or "").split())
    return members


def _tag(element: Element) -> str:
    """A tag without its namespace, in lower case."""
    return str(element.tag).rpartition("}")[2].lower()
