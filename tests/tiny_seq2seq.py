"""Small sequence-to-sequence rerankers with the settings of published ones, and the published ways to score with them.

The oracles are transformers' own logits over the whole vocabulary, put together as pyterrier_t5 and pygaggle do.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from tiny_models import _draw, _save, edit
from tiny_tokenizers import t5

SIZES = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
MONO = "Query: {query} Document: {document} Relevant:"
# Folder name -> (type, members of the published config.json, prompt, answer tokens)
MODELS: dict[str, tuple[str, dict[str, Any], str, tuple[str, str | None]]] = {
    "monot5-tiny": ("t5", {"feed_forward_proj": "relu", "n_positions": 512}, MONO, ("▁true", "▁false")),
    "monot5-flan-tiny": (
        "t5", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}, MONO, ("▁true", "▁false"),
    ),
    "mt5-tiny-mmarco-v2": (
        "mt5", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}, MONO, ("▁yes", "▁no"),
    ),
    "monot5-umt5-tiny": ("umt5", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}, MONO,
                         ("▁true", "▁false")),
    "monoptt5-tiny": ("t5", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
                      "Pergunta: {query} Documento: {document} Relevante:", ("▁Sim", "▁Não")),
    "rankt5-tiny": ("t5", {"feed_forward_proj": "relu", "n_positions": 512}, "Query: {query} Document: {document}",
                    ("<extra_id_10>", None)),
}  # fmt: skip


def build(folder: Path, kind: str, members: dict[str, Any], **more: Any) -> Path:
    """A model of a type, saved as its publishers did: an untied one with its own head and its own settings."""
    import torch
    from transformers import (
        MT5Config,
        MT5ForConditionalGeneration,
        T5Config,
        T5ForConditionalGeneration,
        UMT5Config,
        UMT5ForConditionalGeneration,
    )  # fmt: skip

    classes = {
        "t5": (T5Config, T5ForConditionalGeneration),
        "mt5": (MT5Config, MT5ForConditionalGeneration),
        "umt5": (UMT5Config, UMT5ForConditionalGeneration),
    }
    tokenizer = t5(**more)
    config_class, model_class = classes[kind]
    config = config_class(vocab_size=len(tokenizer), decoder_start_token_id=0, **SIZES, **members)
    model = model_class(config)
    if members.get("tie_word_embeddings") is False:
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    _draw(model, "lm_head")
    with torch.no_grad():
        model.shared.weight.mul_(5)  # `_draw` knows embeddings by another name
        if model.lm_head.weight is model.shared.weight:  # a head that its output is divided for
            model.decoder.final_layer_norm.weight.mul_(SIZES["d_model"] ** 0.5)
    _save(folder, model, tokenizer)
    edit(folder / "config.json", **members)
    return folder


BUILDERS = {name: partial(build, kind=row[0], members=row[1]) for name, row in MODELS.items()}


def original(folder: Path) -> tuple[Any, Any]:
    """transformers' model and tokenizer of a folder."""
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    return AutoModelForSeq2SeqLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def oracle(folder: Path, name: str, pairs: list[tuple[str, str]]) -> list[float]:
    """log p(relevant) − log p(other) at the first decoder step, or the bare logit; too long: as pyterrier_t5 cuts.

    https://github.com/terrierteam/pyterrier_t5: the tokens of query and document are cut so that the tokens of the
    prompt's end fit behind them.
    """
    import torch

    _, _, prompt, (relevant, other) = MODELS[name]
    model, tokenizer = original(folder)
    limit = tokenizer.model_max_length
    body, _, tail = prompt.partition(" Relevan")
    end = tokenizer("Relevan" + tail)["input_ids"] if tail else [tokenizer.eos_token_id]
    scores = []
    for query, document in pairs:
        ids = tokenizer(body.format(query=query, document=document))["input_ids"][:-1][: limit - len(end)] + end
        with torch.no_grad():
            logits = model(
                input_ids=torch.tensor([ids]), decoder_input_ids=torch.full((1, 1), model.config.decoder_start_token_id)
            ).logits[0, 0]
        ids = [tokenizer.convert_tokens_to_ids(token) for token in (relevant, other) if token]
        chosen = logits[ids]
        if other is None:
            scores.append(float(chosen[0]))
        else:
            logs = torch.log_softmax(chosen.double(), dim=0)
            scores.append(float(logs[0] - logs[1]))
    return scores


def config_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "config.json").read_text()))


def taught(folder: Path) -> Path:
    """A folder whose model has learned the pairs of `rerank doctor`, with wide margins."""
    import torch

    from rerank_cli.doctor import ORDER

    model, tokenizer = original(folder)
    texts = [MONO.format(query=query, document=text) for query, *both in ORDER for text in both]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    start = torch.zeros((len(texts), 1), dtype=torch.long)
    wanted = torch.tensor([0, 1] * len(ORDER))
    ids = [tokenizer.convert_tokens_to_ids(token) for token in ("▁true", "▁false")]
    torch.manual_seed(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        logits = model(**batch, decoder_input_ids=start).logits[:, 0, ids]
        loss = torch.nn.functional.cross_entropy(logits, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    return folder
