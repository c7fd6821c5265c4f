"""A control token that is typed in a query or a document is text, whatever the tokenizer and the model.

The oracle is a twin of each model, the same but for the names of its control tokens, which nobody types. To the twin
`</s>` is a text like any other, so that model and twin must give the same scores.
"""

# ruff: noqa: F811
from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tiny_decoders
import tiny_encoders
import tiny_seq2seq
from tiny_models import FAMILIES, made, own_caches  # noqa: F401 fixtures

from rerank_cli.scorers.encoding import Encoder

BUILDERS = {
    **{name: FAMILIES[name] for name in ("bert", "xlm-roberta", "deberta-v2", "modernbert", "qwen3", "ettin")},
    **{name: tiny_encoders.LATE[name] for name in ("colbert", "pylate", "pylate-bert", "multi-vector")},
    **{name: tiny_encoders.EMBEDDING[name] for name in ("embedding", "qwen-embedding")},
    "bge-reranker-v2-gemma": tiny_decoders.bge_gemma,
    "monot5-tiny": tiny_seq2seq.BUILDERS["monot5-tiny"],
}
FROM_OUR_PROMPTS = {"bge-reranker-v2-gemma": "<bos>", "monot5-tiny": "</s>"}  # a twin must keep their names
WORDS = "the capital of Nevada"


def added_of(folder: Path) -> list[str]:
    """Control tokens, and the markers that PyLate adds as if they were words."""
    added = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    markers, kept = tiny_encoders.MARKERS, FROM_OUR_PROMPTS.get(folder.name)
    found = [token["content"] for token in added if token["special"] or token["content"] in markers]
    return [token for token in found if token != kept]


def twin_of(folder: Path, target: Path) -> Path:
    """The same model with other names for its control tokens, wherever its files have them."""
    shutil.copytree(folder, target)
    for path in [*target.rglob("*.json"), *target.rglob("*.jinja")]:
        text = (
            json.dumps(json.loads(path.read_text()), ensure_ascii=False) if path.suffix == ".json" else path.read_text()
        )
        for number, token in enumerate(sorted(added_of(folder), key=len, reverse=True)):
            text = text.replace(json.dumps(token, ensure_ascii=False)[1:-1], f"\ue000{number:03}\ue001")
        path.write_text(text)
    return target


def typed(token: str) -> list[str]:
    return [f"{WORDS} {token} is Carson City", f"{token}{WORDS}{token}", f"{WORDS}\n{token}", token]


def scores(run, folder: Path, query: str, documents: list[str]) -> list[float]:
    lines = "".join(json.dumps({"text": text}) + "\n" for text in documents)
    how = ["--as", "embedding"] if folder.parent.name.endswith("embedding") else []
    result = run("-m", folder, *how, "--backend", "torch", "--raw-scores", "--json", "--query", query, "-", stdin=lines)
    assert result.code == 0, result.err
    found = {one["index"]: one["relevance_score"] for one in result.json["results"]}
    return [found[number] for number in range(len(documents))]


@pytest.mark.parametrize("name", BUILDERS)
def test_a_typed_control_token_is_text(made, run, tmp_path: Path, name: str) -> None:
    folder = made.folder(name, BUILDERS[name])
    model, twin = tmp_path / name / name, tmp_path / f"twin-{name}" / name
    shutil.copytree(folder, model)
    twin_of(folder, twin)
    tokens = added_of(folder)[:6]
    documents = [text for token in tokens for text in typed(token)]
    for query in (WORDS, f"{tokens[0]}{WORDS} {tokens[-1]} {' '.join(tokens[1:4])}?"):
        assert scores(run, model, query, documents) == scores(run, twin, query, documents)


PIECES = {
    piece: number for number, piece in enumerate(["<unk>", "</s>", "<", "/", "s", ">", "a", "▁", "</", "s>", "a<"])
}
MERGES = [["<", "/"], ["s", ">"], ["</", "s>"], ["a", "<"]]
KINDS = {
    "BPE of Llama": ({"type": "BPE", "vocab": PIECES, "merges": MERGES, "unk_token": "<unk>"}, "▁", ["</", "s>"]),
    "BPE of whole words": (
        {"type": "BPE", "vocab": PIECES, "merges": MERGES, "unk_token": "<unk>", "ignore_merges": True}, "", ["</", "s>"],
    ),
    "words": ({"type": "WordLevel", "vocab": PIECES, "unk_token": "<unk>"}, "", ["<unk>"]),
    "parts of words": (
        {"type": "WordPiece", "vocab": PIECES | {"##s>": 11}, "unk_token": "<unk>", "continuing_subword_prefix": "##",
         "max_input_chars_per_word": 100}, "", ["</", "##s>"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_tokenizers_that_make_a_control_token_of_its_parts(tmp_path: Path, kind: str) -> None:
    model, space, expected = KINDS[kind]
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False) | {"special": True}
    added = [{"id": PIECES[name], "content": name, **flags} for name in ("<unk>", "</s>")]
    replaced = {"type": "Replace", "pattern": {"String": " "}, "content": space} if space else None
    words = None if space else {"type": "WhitespaceSplit"}
    whole = {"version": "1.0", "added_tokens": added, "normalizer": replaced, "pre_tokenizer": words, "model": model}
    (tmp_path / "tokenizer.json").write_text(json.dumps({**whole, "post_processor": None, "decoder": None}))
    encoder = Encoder(tmp_path / "tokenizer.json")
    pieces = [encoder.token_id(piece) for piece in expected]
    blank = [PIECES["▁"]] if space else []
    assert encoder.ids("a </s>") == [PIECES["a"], *blank, *pieces]
    assert [tokens.ids for tokens in encoder.documents(["</s>", "a", "</s> a"], 2)] == [
        pieces, [PIECES["a"]], [*pieces, *blank, PIECES["a"]],
    ]  # fmt: skip
    assert encoder.controlled("</s>a") == [PIECES["</s>"], PIECES["a"]]
