"""A tokenizer whose control tokens no text can be: its tokenizer.json with other names for them.

Documents are not trusted: `</s>` typed in one is text. `tokenizers` can be told not to look for control tokens, but
that is not enough where they are pieces of the model's own vocabulary, as in all Unigram models. Nothing is tokenised
here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

MARK = " "  # before a name: texts are split at spaces, or have them replaced, before pieces are looked for


def marked_text(text: str, reserved: frozenset[str] = frozenset()) -> str:
    """The JSON of a tokenizer.json with a space before the name of every control token; the ids stay as they are.

    `reserved`: added tokens that count as control tokens though the file does not say so.

    Raises what `json` raises, or KeyError, for a file that cannot be read.
    """
    record = json.loads(text)
    for token in record["added_tokens"]:
        token["special"] |= token["content"] in reserved
    names = {token["content"]: MARK + token["content"] for token in record["added_tokens"] if token["special"]}
    model = record["model"]
    pieces = model["vocab"]
    if isinstance(pieces, dict):
        model["vocab"] = {names.get(piece, piece): number for piece, number in pieces.items()}
    else:  # Unigram
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in pieces]
    if "merges" in model:
        model["merges"] = [merge for merge in model["merges"] if not names.keys() & _pieces(merge)]
    if isinstance(model.get("unk_token"), str):
        model["unk_token"] = names.get(model["unk_token"], model["unk_token"])
    for token in record["added_tokens"]:
        token["content"] = names.get(token["content"], token["content"])
    return json.dumps(record)


def _pieces(merge: str | Sequence[str]) -> set[Any]:
    """The two pieces of a merge, and what becomes of them."""
    first, second = merge.split(" ") if isinstance(merge, str) else merge
    return {first, second, first + second}
