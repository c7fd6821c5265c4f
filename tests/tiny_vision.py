"""A small vision-language reranker with random weights, laid out as Qwen3-VL-Reranker's repository is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tiny_models import SIZES, _draw, _save
from tiny_tokenizers import byte_bpe

# `additional_chat_templates/reranker.jinja` of Qwen3-VL-Reranker, the text parts of it.
TEMPLATE = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n<Instruct>: '
    "{% set found = messages | selectattr('role', 'eq', 'system') | list %}"
    "{% if found %}{% for part in found[0].content %}{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}"
    "{% else %}Given a search query, retrieve relevant candidates that answer the query.{% endif %}<Query>:"
    "{% for m in messages if m.role == 'query' %}{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}"
    "{% endif %}{% endfor %}{% endfor %}{{ '\\n' }}<Document>:"
    "{% for m in messages if m.role == 'document' %}{% for part in m.content %}{% if part.type == 'text' %}"
    "{{ part.text }}{% endif %}{% endfor %}{% endfor %}<|im_end|>\n"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GENERAL = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
ROPE = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [2, 1, 1]}
SPECIAL = {"image_token_id": 5, "video_token_id": 6, "vision_start_token_id": 7, "vision_end_token_id": 8}
PATCHES = {"num_heads": 2, "patch_size": 4, "spatial_merge_size": 2, "temporal_patch_size": 2, "depth": 2}
LINEAR = {"layer_types": ["linear_attention", "full_attention"], "linear_num_value_heads": 4, "linear_num_key_heads": 2,
          "linear_key_head_dim": 8, "linear_value_head_dim": 8, "head_dim": 16}  # fmt: skip
WIDE = {"hidden_size": 16, "intermediate_size": 32, "out_hidden_size": 32, **PATCHES}
# Type -> transformers' classes, settings of the text part and of the vision part.
KINDS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "qwen2_vl": ("Qwen2VL", {"rope_parameters": ROPE}, {"embed_dim": 16, "hidden_size": 32, **PATCHES}),
    "qwen2_5_vl": (
        "Qwen2_5_VL", {"rope_parameters": ROPE}, {**WIDE, "fullatt_block_indexes": [1], "window_size": 16}
    ),
    "qwen3_vl": (
        "Qwen3VL",
        {"head_dim": 8, "rope_parameters": {**ROPE, "mrope_interleaved": True}},
        {**WIDE, "num_position_embeddings": 16, "deepstack_visual_indexes": [0]},
    ),
    "qwen3_5": (
        "Qwen3_5",
        {**LINEAR, "rope_parameters": {**ROPE, "mrope_interleaved": True, "partial_rotary_factor": 0.5}},
        {**WIDE, "num_position_embeddings": 16},
    ),
}  # fmt: skip


def vision(folder: Path, kind: str = "qwen3_vl", *, modules: bool = True) -> Path:
    """A vision-language model with the files of sentence-transformers, or without any template."""
    import transformers

    name, text, images = KINDS[kind]
    tokenizer = byte_bpe(384, qwen=True)
    words = {"vocab_size": len(tokenizer), "max_position_embeddings": 512, "num_key_value_heads": 2, "pad_token_id": 0,
             "bos_token_id": 0, "eos_token_id": 2, "tie_word_embeddings": False, **SIZES, **text}  # fmt: skip
    config = getattr(transformers, f"{name}Config")(
        text_config=words, vision_config=images, tie_word_embeddings=False, **SPECIAL
    )
    model = getattr(transformers, f"{name}ForConditionalGeneration")(config)
    _save(folder, _draw(model, "lm_head"), tokenizer)
    if modules:
        _add_modules(folder, tokenizer)
    return folder


def _add_modules(folder: Path, tokenizer: Any) -> None:
    """The files that make it a CrossEncoder: template by name, structured messages, LogitScore."""
    (folder / "chat_template.jinja").write_text(GENERAL)
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "reranker.jinja").write_text(TEMPLATE)
    places = (
        "sentence_transformers.base.modules.transformer.Transformer",
        "sentence_transformers.cross_encoder.modules.logit_score.LogitScore",
    )
    entries = [{"idx": n, "name": str(n), "path": path, "type": kind}
               for n, (path, kind) in enumerate(zip(("", "1_LogitScore"), places, strict=True))]  # fmt: skip
    (folder / "modules.json").write_text(json.dumps(entries))
    forward = {"method": "forward", "method_output_name": "logits"}
    settings = {
        "transformer_task": "any-to-any",
        "modality_config": {"text": forward, "message": {**forward, "format": "structured"}},
        "module_output_name": "causal_logits",
        "processing_kwargs": {"chat_template": {"add_generation_prompt": True, "chat_template": "reranker"}},
    }
    (folder / "sentence_bert_config.json").write_text(json.dumps(settings))
    (folder / "1_LogitScore").mkdir()
    ids = {
        f"{name}_token_id": tokenizer.convert_tokens_to_ids(word) for name, word in (("true", "yes"), ("false", "no"))
    }
    (folder / "1_LogitScore" / "config.json").write_text(json.dumps(ids))
    saved = {
        "model_type": "CrossEncoder",
        "prompts": {},
        "default_prompt_name": None,
        "activation_fn": "torch.nn.modules.linear.Identity",
    }
    (folder / "config_sentence_transformers.json").write_text(json.dumps(saved))


def add_processors(folder: Path) -> None:
    """The settings of image and video processors, without which sentence-transformers reads no processor."""
    sizes = {"patch_size": 4, "merge_size": 2, "temporal_patch_size": 2}
    for name, member, kind in (
        ("preprocessor_config", "image_processor_type", "Qwen2VLImageProcessorFast"),
        ("video_preprocessor_config", "video_processor_type", "Qwen3VLVideoProcessor"),
    ):
        (folder / f"{name}.json").write_text(json.dumps({member: kind, **sizes}))
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": "Qwen3VLProcessor"}))
