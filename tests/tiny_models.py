"""Small real models with random weights, laid out as the hub's cache does, and oracles for their scores.

Every weight is wide enough that a wrong segment id, a swapped pair or another pooling changes a score by more than 0.1.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
from tiny_tokenizers import byte_bpe, unigram, wordpiece

COMMIT = "0123456789abcdef0123456789abcdef01234567"
QUERY = "What is the capital of the United States?"
DOCUMENTS = [
    "Washington, D.C. is the capital of the United States.",
    "Carson City is the capital city of the American state of Nevada.",
    "Mars is known as the Red Planet.",
    "yes",
    "Zürich café 北京 — naïve!",
    "  Exponential backoff waits 1, 2, 4, 8 seconds\n\nbetween retries.  ",
]
LONG = " ".join(f"Sentence {i} says that the capital of state {i} is a city with {i * 37} people." for i in range(60))
CHAT = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n<Instruct>: '
    '{{ messages | selectattr("role", "eq", "system") | map(attribute="content") | first | '
    'default("Given a web search query, retrieve relevant passages that answer the query") }}\n<Query>: '
    '{{ messages | selectattr("role", "eq", "query") | map(attribute="content") | first }}\n<Document>: '
    '{{ messages | selectattr("role", "eq", "document") | map(attribute="content") | first }}<|im_end|>\n'
    "<|im_start|>assistant\n<think>\n\n</think>\n\n"
)


def _draw(model: Any, head: str, seed: int = 7) -> Any:
    """Random weights: matrices of variance about 1/width, embeddings and the head wide."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim < 2:
                continue
            std = 1.0 if "embed" in name or head in name else 1.3 / weight.shape[-1] ** 0.5
            weight.copy_(torch.randn(weight.shape, generator=generator) * std)
    return model.eval()


SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


def bert(folder: Path, labels: int = 1, names: dict[int, str] | None = None, *, typed: bool = True) -> Path:
    from transformers import BertConfig, BertForSequenceClassification

    tokenizer = wordpiece(typed=typed)
    more = {"id2label": names, "label2id": {v: k for k, v in names.items()}} if names else {"num_labels": labels}
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, **SIZES, **more)
    return _save(folder, _draw(BertForSequenceClassification(config), "classifier"), tokenizer)


def xlm_roberta(folder: Path) -> Path:
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

    tokenizer = unigram()
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer), max_position_embeddings=64, type_vocab_size=1, num_labels=1, pad_token_id=1,
        bos_token_id=0, eos_token_id=2, **SIZES,
    )  # fmt: skip
    return _save(folder, _draw(XLMRobertaForSequenceClassification(config), "classifier"), tokenizer)


def deberta(folder: Path) -> Path:
    from transformers import DebertaV2Config, DebertaV2ForSequenceClassification

    tokenizer = unigram(64, xlm=False)
    config = DebertaV2Config(
        vocab_size=len(tokenizer), max_position_embeddings=64, type_vocab_size=0, num_labels=1, pad_token_id=0,
        relative_attention=True, position_buckets=16, norm_rel_ebd="layer_norm", share_att_key=True,
        pos_att_type=["p2c", "c2p"], position_biased_input=False, pooler_hidden_size=32, **SIZES,
    )  # fmt: skip
    return _save(folder, _draw(DebertaV2ForSequenceClassification(config), "classifier"), tokenizer)


def _modernbert_config(tokenizer: Any) -> Any:
    from transformers import ModernBertConfig

    return ModernBertConfig(
        vocab_size=len(tokenizer), max_position_embeddings=96, num_labels=1, pad_token_id=0, cls_token_id=2,
        sep_token_id=3, bos_token_id=2, eos_token_id=3, local_attention=16, global_attn_every_n_layers=2,
        classifier_pooling="mean", **SIZES,
    )  # fmt: skip


def modernbert(folder: Path) -> Path:
    from transformers import ModernBertForSequenceClassification

    tokenizer = byte_bpe()
    model = ModernBertForSequenceClassification(_modernbert_config(tokenizer))
    return _save(folder, _draw(model, "classifier"), tokenizer)


def _qwen_config(tokenizer: Any, **more: Any) -> Any:
    from transformers import Qwen3Config

    return Qwen3Config(
        vocab_size=len(tokenizer), max_position_embeddings=512, num_key_value_heads=2, head_dim=8,
        pad_token_id=0, eos_token_id=2, bos_token_id=0, tie_word_embeddings=False, **SIZES, **more,
    )  # fmt: skip


def qwen_decoder(folder: Path, *, chat: bool = True, limit: int = 384) -> Path:
    from transformers import Qwen3ForCausalLM

    tokenizer = byte_bpe(limit, qwen=True)
    if chat:
        tokenizer.chat_template = CHAT
    return _save(folder, _draw(Qwen3ForCausalLM(_qwen_config(tokenizer)), "lm_head"), tokenizer)


def qwen_classifier(folder: Path) -> Path:
    from transformers import Qwen3ForSequenceClassification

    tokenizer = byte_bpe(384, qwen=True)
    tokenizer.chat_template = CHAT
    model = Qwen3ForSequenceClassification(_qwen_config(tokenizer, num_labels=1))
    return _save(folder, _draw(model, "score"), tokenizer)


def ettin(folder: Path, pooling: str = "cls", *, residual: bool = False, old_names: bool = False) -> Path:
    """A module repository as the Ettin rerankers are: ModernBERT, Pooling, Dense, LayerNorm, Dense to `scores`."""
    import torch
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Dense, Transformer
    from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling
    from transformers import ModernBertModel

    tokenizer = byte_bpe()
    body = folder.with_name(folder.name + "-body")
    _save(body, _draw(ModernBertModel(_modernbert_config(tokenizer)), "none"), tokenizer)
    torch.manual_seed(3)
    width = 32 * (2 if "+" in pooling else 1)
    modules = [
        Transformer(str(body), transformer_task="feature-extraction"),
        Pooling(32, pooling.split("+")),
        Dense(width, 32, bias=False, activation_function=torch.nn.GELU(), use_residual=residual),
        LayerNorm(32),
        Dense(32, 1, activation_function=torch.nn.Identity(), module_output_name="scores"),
    ]
    with torch.no_grad():
        modules[-1].linear.weight.normal_()
        modules[-2].norm.weight.normal_()
    CrossEncoder(modules=modules).save_pretrained(str(folder), create_model_card=False)
    shutil.rmtree(body)
    if old_names:
        _use_old_names(folder)
    return folder


def _use_old_names(folder: Path) -> None:
    """Type names, Pooling flags and settings as versions before 5 wrote them."""
    entries = json.loads((folder / "modules.json").read_text())
    for entry in entries:
        entry["type"] = "sentence_transformers.models." + entry["type"].rpartition(".")[2]
    (folder / "modules.json").write_text(json.dumps(entries))
    place = folder / entries[1]["path"] / "config.json"
    mode = json.loads(place.read_text())["pooling_mode"]
    flags = ("cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
    old = {f"pooling_mode_{flag}": flag.startswith(mode) and not flag.startswith(mode + "_sqrt") for flag in flags}
    place.write_text(json.dumps({"word_embedding_dimension": 32, **old, "include_prompt": True}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 96, "do_lower_case": False}))


def saved_decoder(folder: Path, *, false_token: bool = True) -> Path:
    """A decoder as sentence-transformers saves one: Transformer and LogitScore."""
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.cross_encoder.modules import LogitScore

    body = qwen_decoder(folder.with_name(folder.name + "-body"))
    transformer = Transformer(str(body), transformer_task="text-generation")
    ids = [transformer.tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no")]
    score = LogitScore(ids[0], ids[1] if false_token else None)
    CrossEncoder(modules=[transformer, score]).save_pretrained(str(folder), create_model_card=False)
    shutil.rmtree(body)
    return folder


def _save(folder: Path, model: Any, tokenizer: Any) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def edit(path: Path, **values: Any) -> None:
    """Set members of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def into_hub_cache(source: Path, home: Path, repository: str, commit: str = COMMIT, branch: str = "main") -> Path:
    """Lay a folder out as the hub's cache does: blobs by digest, a snapshot of links, a ref. Returns the snapshot."""
    place = home / "hub" / f"models--{repository.replace('/', '--')}"
    snapshot = place / "snapshots" / commit
    for path in sorted(source.rglob("*")):
        if not path.is_file():
            continue
        data = path.read_bytes()
        large = path.suffix in {".safetensors", ".bin", ".onnx"} or len(data) > 1 << 20
        name = hashlib.sha256(data).hexdigest() if large else hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        blob = place / "blobs" / name
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        link = snapshot / path.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    reference = place / "refs" / branch
    reference.parent.mkdir(parents=True, exist_ok=True)
    reference.write_text(commit)
    return snapshot


FAMILIES = {
    "bert": bert,
    "bert-two-logits": lambda folder: bert(folder, 2),
    "xlm-roberta": xlm_roberta,
    "deberta-v2": deberta,
    "modernbert": modernbert,
    "qwen3": qwen_decoder,
    "qwen3-classifier": qwen_classifier,
    "ettin": ettin,
}


class Made:
    """Models and oracles, each made once a session on first use."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._oracles: dict[str, Any] = {}
        self._folders: dict[str, Path] = {}

    def folder(self, name: str, build: Any = None) -> Path:
        """The folder of a family, or of whatever `build(folder)` makes under this name."""
        if name not in self._folders:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._folders[name] = (build or FAMILIES[name])(self.root / name)
        return self._folders[name]

    def copied(self, name: str, target: Path) -> Path:
        """A folder of one's own, to break."""
        return Path(shutil.copytree(self.folder(name), target))

    def oracle(
        self, name: str, pairs: list[tuple[str, str]], prompt: str | None = None, batch_size: int = 4
    ) -> list[float]:
        """Logits of sentence-transformers' CrossEncoder in float32; of two, the second less the first."""
        import torch

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logits = self.cross_encoder(name).predict(
                pairs, activation_fn=torch.nn.Identity(), batch_size=batch_size, prompt=prompt
            )
        return [float(row[1] - row[0]) if logits.ndim == 2 else float(row) for row in logits]

    def cross_encoder(self, name: str) -> Any:
        """sentence-transformers' model of a folder."""
        import torch
        from sentence_transformers import CrossEncoder

        if name not in self._oracles:
            folder = str(self.folder(name))
            self._oracles[name] = CrossEncoder(folder, model_kwargs={"dtype": torch.float32}, local_files_only=True)
        return self._oracles[name]

    def converted(self, name: str) -> Path:
        """A converted copy with all three forms."""
        from rerank_cli import models
        from rerank_cli.convert.model import convert

        target = self.root / "converted" / name
        if not target.exists():
            convert(models.resolve(str(self.folder(name))), ("fp32", "int8", "ir"), target, 2)
        return target


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Small real models; see `Made`."""
    return Made(tmp_path_factory.mktemp("models"))


@pytest.fixture(autouse=True)
def own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cache of the developer's is read or written, and no hub is asked."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("RERANK_CACHE_DIR", str(tmp_path / "rerank-cache"))


def ours(model: Path | str, pairs: list[tuple[str, str]], *, alone: bool = False, **settings: Any) -> list[float]:
    """Our logits, all pairs at once or each alone, documents cut at the end as the oracle cuts them."""
    from rerank_cli.records import Pair
    from rerank_cli.report import Report
    from rerank_cli.scorers.open_local import open_local
    from rerank_cli.settings import Limits, ModelSettings

    scorer = open_local(ModelSettings(model=str(model), threads=2, **settings), Report())
    limits = Limits(max_tokens_per_doc=1_000_000, long_documents="truncate")
    groups = [[pair] for pair in pairs] if alone else [pairs]
    found = [score.value for group in groups for score in scorer.score([Pair(*pair) for pair in group], limits)]
    scorer.close()
    return found
