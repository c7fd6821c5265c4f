"""Small decoders of the families in templates.json, with random weights, and their published scoring as oracles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tiny_models import SIZES, _draw, _save
from tiny_tokenizers import byte_bpe, gemma

LIMIT = 384
SYSTEM = "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
TASK = (
    "You are a search relevance expert who evaluates how well documents match search queries. For each query-document "
    "pair, carefully analyze the semantic relationship between them, then provide your binary relevance judgment (0 for "
    "not relevant, 1 for relevant).\nRelevance:"
)
YES_NO = (
    "Given a query A and a passage B, determine whether the passage contains an answer to the query by providing a "
    "prediction of either 'Yes' or 'No'."
)


def causal(folder: Path, kind: str, tokenizer: Any = None, **more: Any) -> Path:
    """A decoder of one of transformers' types: `Qwen2`, `Gemma`, `Granite` …"""
    import transformers

    tokenizer = tokenizer or byte_bpe(LIMIT, qwen=True)
    settings = {"num_key_value_heads": 2, "max_position_embeddings": 512, "tie_word_embeddings": False, "bos_token_id": 0,
                "eos_token_id": 2, "pad_token_id": 0, **SIZES, **more}  # fmt: skip
    config = getattr(transformers, f"{kind}Config")(vocab_size=len(tokenizer), **settings)
    model = getattr(transformers, f"{kind}ForCausalLM")(config)
    return _save(folder, _draw(model, "lm_head"), tokenizer)


def bge_gemma(folder: Path) -> Path:
    return causal(folder, "Gemma", gemma(LIMIT), head_dim=8)


Rows = Callable[[Any, str, str], list[int]]  # tokenizer, query, document


def mxbai_ids(tokenizer: Any, query: str, document: str, instruction: str | None = None) -> list[int]:
    """`MxbaiRerankV2.prepare_inputs` of mxbai_rerank 0.1.6, where the model reads LIMIT tokens."""

    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    asked = ids(f"query: {query}" if instruction is None else f"instruction: {instruction}\nquery: {query}")
    before, sep, after = ids(SYSTEM + "<|im_start|>user\n"), ids("\n"), ids("<|im_end|>\n<|im_start|>assistant\n")
    room = LIMIT - len(before) - len(sep) - len(ids(TASK)) - len(after)
    return before + (asked + sep + ids(f"document: {document}"))[:room] + sep + ids(TASK) + after


def gemma_ids(tokenizer: Any, query: str, document: str, prompt: str = YES_NO) -> list[int]:
    """`get_inputs` of bge-reranker-v2-gemma's model card, cut so that a whole input has LIMIT tokens."""

    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    sep = ids("\n")
    pair = [tokenizer.bos_token_id, *ids(f"A: {query}"), *sep, *ids(f"B: {document}")]
    return pair[: LIMIT - len(sep) - len(ids(prompt))] + sep + ids(prompt)


def zerank_ids(tokenizer: Any, query: str, document: str) -> list[int]:
    """The query as `system`, the document as `user`, in Qwen3's general template, as modeling_zeranker.py has it."""
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    messages = [{"role": "system", "content": query}, {"role": "user", "content": document}]
    found = tokenizer.apply_chat_template(
        messages, chat_template=template, tokenize=True, add_generation_prompt=True, return_dict=True
    )["input_ids"]
    tail = tokenizer("<|im_end|>\n<|im_start|>assistant\n", add_special_tokens=False)["input_ids"]
    return list(found if len(found) <= LIMIT else found[: LIMIT - len(tail)] + tail)


def ctxl_ids(tokenizer: Any, query: str, document: str, instruction: str = "") -> list[int]:
    """`format_prompts` of the model card of ctxl-rerank-v2; for texts that fit."""
    more = f" {instruction}" if instruction else ""
    text = (
        "Check whether a given document contains information helpful to answer the query.\n"
        f"<Document> {document}\n<Query> {query}{more} ??"
    )
    return list(tokenizer(text)["input_ids"])


def scores(folder: Path, rows: Sequence[list[int]], answers: Sequence[int]) -> list[float]:
    """The logit of the first answer less that of the second, each row alone in transformers' own class."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    found = []
    with torch.no_grad():
        for row in rows:
            logits = model(input_ids=torch.tensor([row])).logits[0, -1, list(answers)]
            found.append(float(logits[0] - logits[1]) if len(answers) == 2 else float(logits[0]))
    return found


def single(tokenizer: Any, *words: str) -> list[int]:
    """The id of each word as the published code finds it."""
    return [tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in words]
