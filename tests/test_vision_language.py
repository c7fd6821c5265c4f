# ruff: noqa: F811
"""Vision-language rerankers with text: the scores of sentence-transformers and of transformers' whole model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_vision
from tiny_models import DOCUMENTS, LONG, QUERY, edit, made, ours, own_caches  # noqa: F401 fixtures

from rerank_cli import models
from rerank_cli.errors import ModelError
from rerank_cli.models.families import VISION_LANGUAGE

PAIRS = [(QUERY, document) for document in [*DOCUMENTS, LONG]]
LIMIT = 384


def expected(folder: Path, instruction: str | None = None) -> list[float]:
    """`yes` less `no` of the whole model, which gets the repository's template rendered by its tokenizer."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    answers = tokenizer.convert_tokens_to_ids(["yes", "no"])
    tail = tokenizer("<|im_end|>\n<|im_start|>assistant\n")["input_ids"]
    found = []
    for query, document in PAIRS:
        roles = [("system", instruction)] * (instruction is not None) + [("query", query), ("document", document)]
        messages = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in roles]
        ids = tokenizer.apply_chat_template(
            messages, chat_template=tiny_vision.TEMPLATE, add_generation_prompt=True, tokenize=True, return_dict=True
        )["input_ids"]
        ids = ids if len(ids) <= LIMIT else ids[: LIMIT - len(tail)] + tail
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0, -1, answers]
        found.append(float(logits[0] - logits[1]))
    return found


@pytest.mark.parametrize("kind", tiny_vision.KINDS)
def test_text_is_scored_as_by_the_whole_model(made, kind: str) -> None:
    folder = made.folder(f"vision-{kind}", lambda place: tiny_vision.vision(place, kind))
    assert set(tiny_vision.KINDS) == VISION_LANGUAGE
    for instruction in (None, "Find the city"):
        right = expected(folder, instruction)
        assert ours(folder, PAIRS, backend="torch", instruction=instruction) == pytest.approx(right, abs=1e-4)
        alone = ours(folder, PAIRS, backend="torch", instruction=instruction, alone=True)
        assert alone == pytest.approx(right, abs=1e-4)


def test_the_scores_are_those_of_sentence_transformers(made) -> None:
    pytest.importorskip("PIL")  # its processors need image packages even for text
    pytest.importorskip("torchvision")
    folder = made.folder("vision", tiny_vision.vision)
    tiny_vision.add_processors(folder)
    assert ours(folder, PAIRS, backend="torch") == pytest.approx(made.oracle("vision", PAIRS), abs=1e-4)


def test_the_prompt_of_the_table_is_that_of_the_repository(made) -> None:
    folder = made.folder("vision", tiny_vision.vision)
    bare = made.folder("Qwen3-VL-Reranker-tiny", lambda place: tiny_vision.vision(place, modules=False))
    assert ours(bare, PAIRS, backend="torch") == pytest.approx(ours(folder, PAIRS, backend="torch"), abs=1e-5)
    told = ours(bare, PAIRS, backend="torch", instruction="Find the city")
    assert told == pytest.approx(ours(folder, PAIRS, backend="torch", instruction="Find the city"), abs=1e-5)


def test_swapped_answers_and_another_template_change_the_scores(made, tmp_path: Path) -> None:
    folder = made.folder("vision", tiny_vision.vision)
    right = ours(folder, PAIRS[:3], backend="torch")
    swapped = made.copied("vision", tmp_path / "swapped")
    ids = json.loads((swapped / "1_LogitScore" / "config.json").read_text())
    edit(
        swapped / "1_LogitScore" / "config.json",
        true_token_id=ids["false_token_id"],
        false_token_id=ids["true_token_id"],
    )
    assert ours(swapped, PAIRS[:3], backend="torch") == pytest.approx([-score for score in right], abs=1e-4)
    open_end = made.copied("vision", tmp_path / "open")
    edit(open_end / "sentence_bert_config.json", processing_kwargs={"chat_template": {"chat_template": "reranker"}})
    wrong = ours(open_end, PAIRS[:3], backend="torch")
    assert max(abs(a - b) for a, b in zip(right, wrong, strict=True)) > 0.1


def test_a_converted_copy_has_the_same_scores(run, made, tmp_path: Path) -> None:
    folder = made.folder("vision", tiny_vision.vision)
    result = run("models", "convert", str(folder), "-o", tmp_path / "copy")
    assert result.code == 0, result.err
    assert ours(tmp_path / "copy", PAIRS) == pytest.approx(ours(folder, PAIRS, backend="torch"), abs=1e-4)


def test_an_unknown_kind_is_refused_by_its_name(made, tmp_path: Path) -> None:
    made.folder("vision", tiny_vision.vision)
    folder = made.copied("vision", tmp_path / "other")
    edit(folder / "config.json", model_type="gemma3", architectures=["Gemma3ForConditionalGeneration"])
    with pytest.raises(ModelError, match="vision-language model of the type `gemma3`"):
        models.resolve(str(folder))
