"""The page at `/`: one HTML file with its style and script inside, and the policy under which browsers run it.

Nothing is loaded from elsewhere. The browser runs only what has the hash of what the file holds. What the page does is
written in `playground.html`; it uses the API as any client does.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

NOT_EMBEDDED = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
HIGHLIGHT = '<input id="highlight" type="checkbox" checked>'  # a provider bills the sentences: not unless asked for
KEY_FIELD = '<div id="key-field" hidden>'  # shown at once if the server has keys, else when it refuses a request


@cache
def playground(*, with_keys: bool, remote: bool = False) -> tuple[str, str]:
    """The page, and its content security policy."""
    page = Path(__file__).with_name("playground.html").read_text(encoding="utf-8")
    style, script = (re.search(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL) for tag in ("style", "script"))
    policy = (
        f"default-src 'none'; style-src {inline_hash(style[1] if style else '')}; "
        f"script-src {inline_hash(script[1] if script else '')}; connect-src 'self'; img-src data:; {NOT_EMBEDDED}"
    )
    if with_keys:
        page = page.replace(KEY_FIELD, KEY_FIELD.replace(" hidden", ""))
    if remote:
        page = page.replace(HIGHLIGHT, HIGHLIGHT.replace(" checked", ""))
    return page, policy


def inline_hash(text: str) -> str:
    """What a policy calls an inline style or script of exactly this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
