"""Standard input of `rerank mcp`, repaired on its way to the SDK. It knows the escapes of JSON, and no messages.

An agent that cuts a text in the middle of an emoji sends half of a surrogate pair. The SDK does not answer a message
with one, so that the agent would wait for ever. As everywhere else, a lone half becomes U+FFFD.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading

# Escapes from left to right, so that an escaped backslash before `ud83d` is not taken for one; group 1: a lone half.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)


def repair_stdin() -> None:
    """Put a pipe in the place of descriptor 0, and copy every line to it without lone halves until its end."""
    source = os.dup(0)
    read, write = os.pipe()
    os.dup2(read, 0)
    os.close(read)
    threading.Thread(target=_copy, args=(source, write), daemon=True).start()


def without_halves(line: bytes) -> bytes:
    """A line of JSON whose lone surrogates are U+FFFD."""
    return _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], line)


def _copy(source: int, write: int) -> None:
    with contextlib.suppress(OSError), open(source, "rb") as lines, open(write, "wb", buffering=0) as pipe:
        for line in lines:
            rest = memoryview(without_halves(line) if b"\\u" in line else line)
            while rest:
                rest = rest[pipe.write(rest) :]
