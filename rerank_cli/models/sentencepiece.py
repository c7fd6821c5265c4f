"""T5's tokenizers as the text of a tokenizer.json, from that file or from a SentencePiece model (`spiece.model`).

Most monoT5 repositories hold only the latter. Its format is a protobuf message, of which six fields are read
(https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto). Nothing is tokenised here.
"""

from __future__ import annotations

import base64
import json
import struct
from typing import TYPE_CHECKING, Any

from rerank_cli.models.files import optional_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE = "spiece.model"
UNIGRAM, UNKNOWN, CONTROL = 1, 2, 3
SIZES = {1: 8, 5: 4}  # bytes of the numbers of fixed size, by protobuf's kind
EXTRA_IDS = 100  # T5's sentinels, which are not in its SentencePiece model
MOST_EXTRA_IDS = 1000
SPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}


def tokenizer_text(path: Path) -> str:
    """The JSON of a tokenizer.json, or of a SentencePiece model as transformers builds its T5 tokenizer.

    Raises what `json` raises, or ValueError, for a file that cannot be read.
    """
    return json.dumps(_from_model(path)) if path.suffix == ".model" else path.read_text(encoding="utf-8")


def _from_model(path: Path) -> dict[str, Any]:
    """The tokenizer of a SentencePiece model and T5's sentinels."""
    message = list(_fields(path.read_bytes()))
    trainer, normalizer = (dict(_fields(_last(message, number))) for number in (2, 3))
    if trainer.get(3, UNIGRAM) != UNIGRAM or not (normalizer.get(3, 1) and normalizer.get(4, 1)):
        raise ValueError("only SentencePiece models of the kind Unigram with T5's treatment of spaces are supported")
    pieces, controls = [], []
    for fields in (dict(_fields(value)) for number, value in message if number == 1):
        pieces.append([fields[1].decode(), struct.unpack("<f", fields.get(2, bytes(4)))[0]])
        if fields.get(3) in {UNKNOWN, CONTROL}:
            controls.append(len(pieces) - 1)
    if not pieces:
        raise ValueError("it has no pieces")
    extra = optional_json(path.with_name("tokenizer_config.json"), {"extra_ids": int}).get("extra_ids", EXTRA_IDS)
    if not 0 <= extra <= MOST_EXTRA_IDS:
        raise ValueError(f"tokenizer_config.json asks for {extra} sentinels")
    controls += range(len(pieces), len(pieces) + extra)
    pieces += [[f"<extra_id_{number}>", 0.0] for number in reversed(range(extra))]
    charsmap = normalizer.get(2)
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {
        "version": "1.0",
        "added_tokens": [{"id": n, "content": pieces[n][0], **flags, "special": True} for n in controls],
        "normalizer": charsmap and {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode()},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, SPACE]},
        "decoder": SPACE,
        "model": {"type": "Unigram", "unk_id": trainer.get(40, 0), "vocab": pieces, "byte_fallback": False},
    }


def _last(message: list[tuple[int, Any]], number: int) -> bytes:
    """The message in a field, or an empty one."""
    return next((value for field, value in reversed(message) if field == number), b"")


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a protobuf message: numbers as they are, all else as bytes. Raises ValueError if it is cut off.

    https://protobuf.dev/programming-guides/encoding/
    """
    at = 0
    while at < len(data):
        key, at = _number(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _number(data, at)
            yield key >> 3, value
            continue
        size, at = _number(data, at) if kind == 2 else (SIZES.get(kind, len(data)), at)
        if at + size > len(data):
            raise ValueError("it is not a SentencePiece model, or it is cut off")
        yield key >> 3, data[at : at + size]
        at += size


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits per byte, and where it ends."""
    value = shift = 0
    while True:
        if at >= len(data):
            raise ValueError("it is cut off")
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
