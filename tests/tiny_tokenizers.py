"""Tokenizers of every family, built here from a few sentences for the tiny models."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

SENTENCES = [
    "The capital of the United States is Washington, and yes, it is no state.",
    "A reranker reads a query and a document together and says yes or no.",
    "Carson City is the capital city of the American state of Nevada.",
    "Mars is known as the Red Planet because of the iron oxide on its surface.",
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided.",
    "Given a web search query, retrieve relevant passages that answer the query.",
    'Note that the answer can only be "yes" or "no". user assistant system think',
    "Zürich, café and naïve are words with accents; 北京 is the capital of China.",
    "Exponential backoff waits 1, 2, 4, 8 seconds between retries of a failed request.",
    "Yes. No. yes no yes no <Query>: <Document>: <Instruct>:",
] * 4
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _fast(tokenizer: Any, limit: int, **more: Any) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=limit, **more)


def _pair_template(tokenizer: Any, single: str, pair: str, names: list[str]) -> None:
    from tokenizers import processors

    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[(name, tokenizer.token_to_id(name)) for name in names]
    )


def _words(words: Iterable[str]) -> tuple[dict[str, int], list[str]]:
    """Every other word with its count, and all letters: by hand, since a trained vocabulary differs from run to run."""
    counts = Counter(words)
    letters = sorted({letter for word in counts for letter in word})
    return {w: counts[w] for w in sorted(counts)[::2] if len(w) > 1}, letters


def wordpiece(limit: int = 64, *, typed: bool = True) -> Any:
    """BERT's kind; not `typed`: of no class of its own, so that segment ids are not handed on."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    normal, splits = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    whole, letters = _words(
        word for text in SENTENCES for word, _ in splits.pre_tokenize_str(normal.normalize_str(text))
    )
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*special, *letters, *(f"##{letter}" for letter in letters), *whole]
    tokenizer = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normal, splits
    _pair_template(tokenizer, "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", ["[CLS]", "[SEP]"])
    if typed:
        from transformers import BertTokenizer

        return BertTokenizer(vocab=tokenizer.get_vocab(), model_max_length=limit)
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return _fast(tokenizer, limit, mask_token="[MASK]", **names)


def unigram(limit: int = 62, *, xlm: bool = True) -> Any:
    """XLM-RoBERTa's kind (`<s> a </s></s> b </s>`), or DeBERTa-v2's (`[CLS] a [SEP] b [SEP]`)."""
    from tokenizers import pre_tokenizers
    from transformers import DebertaV2Tokenizer, XLMRobertaTokenizer

    splits = pre_tokenizers.Metaspace()
    whole, letters = _words(word for text in SENTENCES for word, _ in splits.pre_tokenize_str(text))
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"] if xlm else ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    total = sum(whole.values())
    pieces = [(name, 0.0) for name in special] + [(letter, -9.0) for letter in letters]
    pieces += [(word, math.log(count / total)) for word, count in whole.items()]
    if xlm:
        return XLMRobertaTokenizer(vocab=pieces, model_max_length=limit)
    return DebertaV2Tokenizer(vocab=pieces, unk_id=3, model_max_length=limit)


ANSWERS = ("▁true", "▁false", "▁yes", "▁no", "▁sim", "▁não", "▁Sim", "▁Não", "▁Relevant", "▁Relevante", "▁Query", ":")


def t5(limit: int = 128, *, without: tuple[str, ...] = ()) -> Any:
    """T5's kind, `a </s>`, with its 100 sentinels; pieces `without` are left out."""
    from tokenizers import pre_tokenizers
    from transformers import T5Tokenizer

    whole, letters = _words(word for text in SENTENCES for word, _ in pre_tokenizers.Metaspace().pre_tokenize_str(text))
    total = sum(whole.values())
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [(letter, -9.0) for letter in sorted({*letters, *map(chr, range(33, 127)), "ã"}) if letter != ":"]
    pieces += [(word, math.log(count / total)) for word, count in whole.items() if word not in ANSWERS]
    pieces += [(piece, -7.0) for piece in ANSWERS if piece not in without]
    return T5Tokenizer(vocab=pieces, model_max_length=limit)


def byte_bpe(limit: int = 96, *, qwen: bool = False) -> Any:
    """ModernBERT's kind, or Qwen's: no pair template, `<think>` as a plain added token."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not qwen)
    split = pre_tokenizers.Split(Regex(QWEN_SPLIT), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level]) if qwen else byte_level
    tokenizer.decoder = decoders.ByteLevel()
    special = (
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] if qwen else ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    if qwen:
        tokenizer.add_tokens([AddedToken("<think>", normalized=False), AddedToken("</think>", normalized=False)])
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
        return _fast(tokenizer, limit, pad_token="<|endoftext|>", eos_token="<|im_end|>")
    _pair_template(tokenizer, "[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]", ["[CLS]", "[SEP]"])
    names = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    return _fast(tokenizer, limit, model_input_names=["input_ids", "attention_mask"], **names)


def gemma(limit: int = 96) -> Any:
    """Gemma's kind: byte-pair encoding with `▁` for blanks, bytes for what is unknown, `<bos>` added by itself."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors, trainers

    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    data = [f"<0x{number:02X}>" for number in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=800, special_tokens=[*special, *data], show_progress=False)
    tokenizer.train_from_iterator([*(text.replace(" ", "▁") for text in SENTENCES), "Yes", "No"] * 4, trainer)
    for name in data:
        tokenizer.add_tokens([AddedToken(name, special=False)])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", tokenizer.token_to_id("<bos>"))]
    )
    return _fast(tokenizer, limit, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>")
