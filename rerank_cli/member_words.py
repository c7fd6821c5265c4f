"""What a member of a request may hold, in words: for messages about files and about keyword options in Python.

HTTP has words of its own (`rerank_cli.server.http_errors`). Nothing is read or raised here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerank_cli.options import MOST_NUMBER

if TYPE_CHECKING:
    from rerank_cli.request import Member

# Type of a member -> what it may hold, and an example in JSON. {range} are the bounds of a number.
_EXPECTED = {
    "count": ("a whole number {range}", "5"),
    "number": ("a number {range}", "0.5"),
    "boolean": ("true or false", "true"),
    "switch": ("a string, true or false", "true"),
    "names": ("a list of field names", '["title", "body"]'),
    "texts": ("a string or a list of strings", '["…"]'),
    "queries": ("a string or a list of strings", '"…"'),
    "count or true": ("a whole number {range}, or true", "2"),
}


def expected(member: Member) -> tuple[str, str]:
    """What a member may hold, and an example of it in JSON."""
    text, example = _EXPECTED.get(member.type, ("a string", '"…"'))
    least, most = member.minimum, member.maximum
    within = f"from {least} to {most:g}" if most < MOST_NUMBER else f"of at least {least}"
    return text.format(range=within), example
