"""A T5 with only a SentencePiece model is tokenised as SentencePiece does, and a broken one is refused.

`cases/spiece.model` was trained by sentencepiece 0.2, with a few normalisation rules of its own; `cases/spiece.json`
has its encodings. Its messages are read and changed here with protobuf and transformers' description of the format.
"""

# ruff: noqa: F811
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_seq2seq as tiny
from test_models_hub import server  # noqa: F401 fixture
from test_seq2seq import PAIRS, copied, folder_of
from tiny_models import edit, made, ours, own_caches  # noqa: F401 fixtures

from rerank_cli import models
from rerank_cli.errors import ModelError
from rerank_cli.models.converted import folder_of as folder_of_copy
from rerank_cli.models.sentencepiece import tokenizer_text
from rerank_cli.scorers.encoding import Encoder

CASES = Path(__file__).parent / "cases"


def message_of(data: bytes) -> Any:
    from transformers.utils import sentencepiece_model_pb2_new as format_of

    message = format_of.ModelProto()
    message.ParseFromString(data)
    return message


def spiece_of(folder: Path) -> Path:
    """The folder's tokenizer.json written as a SentencePiece model, and removed."""
    record = json.loads((folder / "tokenizer.json").read_text())
    message = message_of(b"")
    for number, (piece, score) in enumerate(record["model"]["vocab"]):
        message.pieces.add(piece=piece, score=score, type=2 if number == 2 else 3 if number < 2 else 1)
    message.trainer_spec.unk_id = 2
    (folder / "spiece.model").write_bytes(message.SerializeToString())
    (folder / "tokenizer.json").unlink()
    return folder


def test_ids_are_those_of_sentencepiece() -> None:
    encoder = Encoder(CASES / "spiece.model")
    for text, ids in json.loads((CASES / "spiece.json").read_text()):
        assert encoder.ids(text) == ids, text
    size = len(message_of((CASES / "spiece.model").read_bytes()).pieces)
    assert [encoder.token_id(f"<extra_id_{number}>") for number in (99, 0)] == [size, size + 99]
    assert not {0, 1, size} & set(encoder.ids("a<pad> </s>b<extra_id_99>"))
    assert encoder.controlled("</s>a<extra_id_99>") == [1, *encoder.ids("a"), size]


def test_a_model_without_tokenizer_json_scores_like_one_with_it(made, tmp_path: Path) -> None:
    folder = spiece_of(copied(made, "monot5-tiny", tmp_path / "monot5-spiece"))
    expected = tiny.oracle(folder_of(made, "monot5-tiny"), "monot5-tiny", PAIRS)
    found = ours(folder, PAIRS, backend="torch")
    assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) <= 1e-4
    from rerank_cli.convert.model import convert

    model = models.resolve(str(folder))
    for target, name in ((tmp_path / "copy", tmp_path / "copy"), (folder_of_copy(model), folder)):
        convert(model, ("fp32",), target, 2)
        found = ours(name, PAIRS, backend="onnx")
        assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) <= 1e-4


def test_it_is_downloaded_and_is_enough_offline(made, server, tmp_path: Path) -> None:
    server.repositories["acme/monot5-base"] = spiece_of(copied(made, "monot5-tiny", tmp_path / "source"))
    found = models.resolve("acme/monot5-base")
    assert found.tokenizer.name == "spiece.model"
    asked = len(server.asked)
    assert models.resolve("acme/monot5-base").tokenizer == found.tokenizer
    assert len(server.asked) == asked


def test_the_sentinels_are_as_many_as_its_settings_say(tmp_path: Path) -> None:
    (tmp_path / "spiece.model").write_bytes((CASES / "spiece.model").read_bytes())
    for extra in (0, 7):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"extra_ids": extra}))
        names = [token["content"] for token in json.loads(tokenizer_text(tmp_path / "spiece.model"))["added_tokens"]]
        assert len([name for name in names if name.startswith("<extra_id_")]) == extra


def test_a_t5_without_any_tokenizer_is_refused_with_a_hint(made, tmp_path: Path) -> None:
    folder = copied(made, "monot5-tiny", tmp_path / "monot5-large")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"has no tokenizer\.json") as caught:
        models.resolve(str(folder))
    assert "spiece.model of the T5 that it was trained from" in caught.value.hint


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2 + 1]


def of_another_kind(data: bytes) -> bytes:
    message = message_of(data)
    message.trainer_spec.model_type = 2
    return bytes(message.SerializeToString())


def with_its_spaces(data: bytes) -> bytes:
    message = message_of(data)
    message.normalizer_spec.remove_extra_whitespaces = False
    return bytes(message.SerializeToString())


@pytest.mark.parametrize("change", [cut, of_another_kind, with_its_spaces, lambda data: b"", lambda data: b"\xff" * 40])
def test_a_broken_or_unknown_file_is_refused_by_name(tmp_path: Path, change) -> None:
    path = tmp_path / "spiece.model"
    path.write_bytes(change((CASES / "spiece.model").read_bytes()))
    with pytest.raises(ModelError, match=r"cannot read the tokenizer .*spiece\.model"):
        Encoder(path)


def test_a_tokenizer_of_another_kind_is_refused(made, tmp_path: Path) -> None:
    folder = copied(made, "monot5-tiny", tmp_path / "monot5-bpe")
    edit(folder / "tokenizer.json", model={"type": "BPE", "vocab": {"a": 0}, "merges": []})
    with pytest.raises(ModelError, match="of the kind BPE, and T5's are Unigram"):
        ours(folder, PAIRS[:1], backend="torch")
