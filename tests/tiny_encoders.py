"""Small real models that encode query and document apart, in each published layout, and oracles for their scores."""

from __future__ import annotations

import json
import shutil
import string
import warnings
from pathlib import Path
from typing import Any

from tiny_models import SIZES, _draw, _modernbert_config, _qwen_config, _save, edit
from tiny_tokenizers import byte_bpe, wordpiece

WIDTH = 16
MARKERS = ("[Q] ", "[D] ")


def _bert_tokenizer(*more: str) -> Any:
    """A WordPiece tokenizer with punctuation and further pieces."""
    from transformers import BertTokenizer

    vocabulary = wordpiece().get_vocab()  # in an order of its own in every run
    pieces = list(dict.fromkeys([*sorted(vocabulary, key=vocabulary.__getitem__), *more, *string.punctuation]))
    return BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)}, model_max_length=64)


def _bert(tokenizer: Any) -> Any:
    import torch
    from transformers import BertConfig, BertModel

    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=96, **SIZES)
    model = _draw(BertModel(config, add_pooling_layer=False), "none")
    with torch.no_grad():  # random attention averages: less of it keeps the vectors of different tokens apart
        for layer in model.encoder.layer:
            layer.attention.output.dense.weight *= 0.3
            layer.output.dense.weight *= 0.5
        model.embeddings.position_embeddings.weight *= 0.5
        model.embeddings.token_type_embeddings.weight *= 0.1
    return model


def colbert(folder: Path, **metadata: Any) -> Path:
    """ColBERT's own layout, as colbert-ir/colbertv2.0: HF_ColBERT, `linear.weight`, artifact.metadata."""
    import torch
    from safetensors.torch import load_file, save_file

    tokenizer = _bert_tokenizer("[unused0]", "[unused1]")
    _save(folder, _bert(tokenizer), tokenizer)
    weights = {f"bert.{name}": value for name, value in load_file(folder / "model.safetensors").items()}
    weights["linear.weight"] = torch.randn((WIDTH, 32), generator=torch.Generator().manual_seed(5))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    edit(folder / "config.json", architectures=["HF_ColBERT"])
    said = {"query_token_id": "[unused0]", "doc_token_id": "[unused1]", "query_maxlen": 24, "doc_maxlen": 40, "dim": WIDTH,
            "mask_punctuation": True, "attend_to_mask_tokens": False, "similarity": "cosine"}  # fmt: skip
    (folder / "artifact.metadata").write_text(json.dumps(said | metadata))
    return folder


def _pylate_files(folder: Path, shapes: list[tuple[int, int]], residual: bool, **saved: Any) -> Path:
    """PyLate's files around a transformer: modules.json, its Dense modules and its settings."""
    import torch
    from safetensors.torch import save_file

    entries = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    generator = torch.Generator().manual_seed(6)
    for number, (inside, outside) in enumerate(shapes, start=1):
        place = folder / f"{number}_Dense"
        place.mkdir()
        config = {"in_features": inside, "out_features": outside, "bias": False, "use_residual": residual,
                  "activation_function": "torch.nn.modules.linear.Identity"}  # fmt: skip
        (place / "config.json").write_text(json.dumps(config))
        weights = {"linear.weight": torch.randn((outside, inside), generator=generator)}
        if residual and inside != outside:
            weights["residual.weight"] = torch.randn((outside, inside), generator=generator)
        save_file(weights, place / "model.safetensors")
        entries.append({"idx": number, "name": str(number), "path": place.name, "type": "pylate.models.Dense.Dense"})
    (folder / "modules.json").write_text(json.dumps(entries))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 23, "do_lower_case": False}))
    settings = {"model_type": "ColBERT", "prompts": {}, "default_prompt_name": None, "similarity_fn_name": "MaxSim",
                "query_prefix": MARKERS[0], "document_prefix": MARKERS[1], "query_length": 24, "document_length": 48,
                "attend_to_expansion_tokens": False, "do_query_expansion": True,
                "skiplist_words": list(string.punctuation)}  # fmt: skip
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings | saved))
    return folder


def pylate(folder: Path, *, residual: bool = False, **saved: Any) -> Path:
    """PyLate's layout, as lightonai/GTE-ModernColBERT-v1: ModernBERT, `[Q] ` and `[D] ` added to its tokenizer."""
    from transformers import ModernBertModel

    tokenizer = byte_bpe()
    tokenizer.add_special_tokens({"mask_token": "[MASK]"})
    tokenizer.add_tokens(list(MARKERS))
    _save(folder, _draw(ModernBertModel(_modernbert_config(tokenizer)), "none"), tokenizer)
    return _pylate_files(folder, [(32, 64), (64, WIDTH)] if residual else [(32, WIDTH)], residual, **saved)


def pylate_bert(folder: Path, **saved: Any) -> Path:
    """PyLate's layout with a lower-casing tokenizer whose markers are words of its vocabulary."""
    tokenizer = _bert_tokenizer("[unused0]", "[unused1]")
    _save(folder, _bert(tokenizer), tokenizer)
    return _pylate_files(
        folder, [(32, WIDTH)], False, **{"query_prefix": "[unused0]", "document_prefix": "[unused1]", **saved}
    )


def lfm2(folder: Path, **saved: Any) -> Path:
    """PyLate's layout, as LiquidAI/LFM2-ColBERT-350M: a hybrid of convolutions and attention."""
    from transformers import Lfm2Config, Lfm2Model

    tokenizer = byte_bpe()
    tokenizer.add_special_tokens({"mask_token": "[MASK]"})
    tokenizer.add_tokens(list(MARKERS))
    config = Lfm2Config(
        vocab_size=len(tokenizer), max_position_embeddings=512, num_key_value_heads=2, pad_token_id=0, bos_token_id=2,
        eos_token_id=3, layer_types=["conv", "full_attention"], block_auto_adjust_ff_dim=False, **SIZES,
    )  # fmt: skip
    _save(folder, _draw(Lfm2Model(config), "none"), tokenizer)
    return _pylate_files(folder, [(32, WIDTH)], False, **saved)


def multi_vector(folder: Path, strategy: str = "fixed", *, similarity: str | None = None, **mask: Any) -> Path:
    """sentence-transformers' own layout: expansion in the transformer's settings, the skip list in a module."""
    import torch
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
    from tokenizers import AddedToken

    tokenizer = _bert_tokenizer("[unused0]", "[unused1]")
    tokenizer.add_tokens([AddedToken(f"[unused{number}]", normalized=False, special=True) for number in range(2)])
    body = _save(folder.with_name(folder.name + "-body"), _bert(tokenizer), tokenizer)
    expansion = {"strategy": strategy, "attend": True, "length": 24}
    torch.manual_seed(4)
    modules = [
        Transformer(str(body), document_length=40, query_expansion=expansion),
        Dense(32, WIDTH, bias=True, activation_function=torch.nn.Identity(), module_input_name="token_embeddings"),
        MultiVectorMask(**{"skiplist_words": list(string.punctuation), **mask}),
        Normalize(module_input_name="token_embeddings"),
    ]
    prompts = {"query": "[unused0] a query: ", "document": "[unused1] "}
    model = MultiVectorEncoder(modules=modules, prompts=prompts, similarity_fn_name=similarity)
    model.save_pretrained(str(folder), create_model_card=False)
    shutil.rmtree(body)
    return folder


def bare(folder: Path) -> Path:
    """A transformer without modules."""
    tokenizer = _bert_tokenizer()
    return _save(folder, _bert(tokenizer), tokenizer)


def embedding(folder: Path, pooling: str = "mean", prompts: dict[str, str] | None = None, **saved: Any) -> Path:
    """An embedding model as sentence-transformers saves one: BERT, Pooling, Dense, Normalize."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    body = bare(folder.with_name(folder.name + "-body"))
    torch.manual_seed(4)
    modules = [Transformer(str(body)), Pooling(32, pooling), Dense(32, WIDTH)]
    modules += [] if "similarity_fn_name" in saved else [Normalize()]
    prompts = prompts or {"query": "query: ", "document": "passage: "}
    SentenceTransformer(modules=modules, prompts=prompts).save_pretrained(str(folder), create_model_card=False)
    shutil.rmtree(body)
    edit(folder / "config_sentence_transformers.json", prompts=prompts, **saved)
    return folder


def qwen_embedding(folder: Path) -> Path:
    """As Qwen3-Embedding: a decoder read at its last token, which the tokenizer adds; an instruction for queries."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from tokenizers import processors
    from transformers import Qwen3Model

    tokenizer = byte_bpe(64, qwen=True)
    tokenizer.padding_side = "left"  # as Qwen publishes it; positions are relative, so that the side does not matter
    end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", end)]
    )
    body = _save(folder.with_name(folder.name + "-body"), _draw(Qwen3Model(_qwen_config(tokenizer)), "none"), tokenizer)
    modules = [Transformer(str(body)), Pooling(32, "lasttoken"), Normalize()]
    prompts = {"query": "Instruct: find passages that answer the query\nQuery:", "document": ""}
    model = SentenceTransformer(modules=modules, prompts=prompts)
    model.save_pretrained(str(folder), create_model_card=False)
    shutil.rmtree(body)
    return folder


LATE = {
    "colbert": colbert,
    "colbert-attending": lambda folder: colbert(folder, attend_to_mask_tokens=True, mask_punctuation=False),
    "pylate": pylate,
    "pylate-bert": pylate_bert,
    "pylate-residual": lambda folder: pylate(folder, residual=True, attend_to_expansion_tokens=True),
    "pylate-plain": lambda folder: pylate(
        folder, do_query_expansion=False, skiplist_words=[], prompts={"query": "search: ", "document": "text: "}
    ),
    "lfm2": lfm2,
    "multi-vector": multi_vector,
    "multi-vector-min": lambda folder: multi_vector(folder, "min", skiplist_tasks=["query", "document"]),
    "multi-vector-mean": lambda folder: multi_vector(folder, similarity="meanmaxsim", skiplist_words=[]),
}
EMBEDDING = {
    "embedding": embedding,
    "embedding-cls": lambda folder: embedding(folder, "cls", {"query": "Represent: ", "document": "a document "}),
    "embedding-dot": lambda folder: embedding(folder, "max", similarity_fn_name="dot"),
    "qwen-embedding": qwen_embedding,
    "bare": bare,
}


def oracle(folder: Path, queries: list[str], documents: list[str], *, late: bool, **options: Any) -> list[list[float]]:
    """Scores [query][document] of sentence-transformers in float32; `options` are those of encode_query."""
    import torch
    from sentence_transformers import MultiVectorEncoder, SentenceTransformer

    kwargs: dict[str, Any] = {"model_kwargs": {"dtype": torch.float32}, "local_files_only": True, "device": "cpu"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = (MultiVectorEncoder if late else SentenceTransformer)(str(folder), **kwargs)
        found = model.similarity(model.encode_query(queries, **options), model.encode_document(documents))
    return [[float(value) for value in row] for row in found]
