"""A T5 as a reranker in torch: the encoder, one step of the decoder, and a head for the answer tokens only.

It knows the facts of a model (`models.seq2seq`) and its tokenizer; it reads no weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from rerank_cli.errors import ModelError
from rerank_cli.models.files import safetensors_header

if TYPE_CHECKING:
    from rerank_cli.models import LocalModel
    from rerank_cli.scorers.encoding import Encoder

HEAD = "lm_head.weight"


def make_seq2seq(network: Any, model: LocalModel, encoder: Encoder) -> nn.Module:
    """The network that scores, from transformers' own. Raises ModelError: no head in the files, no answer tokens."""
    _check_head(network, model)
    return Seq2SeqNetwork(network, answer_ids(model, encoder))


def answer_ids(model: LocalModel, encoder: Encoder) -> tuple[int, ...]:
    """Token ids of the model's answer, the relevant one first: the first answer of which the tokenizer has all tokens.

    Raises ModelError if it has none.
    """
    answers = [[token for token in answer if token is not None] for answer in model.answers]
    for tokens in answers:
        ids = tuple(number for token in tokens if (number := encoder.token_id(token)) is not None)
        if len(ids) == len(tokens):
            return ids
    wanted = " or ".join(" and ".join(f"`{token}`" for token in tokens) for tokens in answers)
    hint = "does the tokenizer belong to the model? `-m` takes the repository as it was published"
    raise ModelError(f"the tokenizer of {model.name} does not have the answer tokens {wanted}", hint)


def _check_head(network: Any, model: LocalModel) -> None:
    """Raise ModelError if an untied T5 (v1.1, mT5, umT5) lacks its head: transformers then takes the embeddings."""
    untied = model.config.get("tie_word_embeddings") is False
    tied = network.lm_head.weight is network.shared.weight
    holders = [path for path in model.weights if path.suffix == ".safetensors" and HEAD in safetensors_header(path)]
    if untied and tied and not holders:
        raise ModelError(
            f"{model.name} has no weights for {HEAD}: other weights would be used in their place",
            "its config.json has `tie_word_embeddings: false`, so its head must be in its files: download it again",
        )


class AnswerHead(nn.Module):  # type: ignore[misc] # torch is not type-checked
    """Hidden states times (W_relevant − W_other), or W_relevant: the only rows of the vocabulary that count."""

    def __init__(self, weight: torch.Tensor, ids: tuple[int, ...]) -> None:
        super().__init__()
        if max(ids) >= weight.shape[0]:
            raise ModelError("the model's vocabulary has no row for its answer tokens")
        rows = weight.detach().float()[list(ids)]
        self.register_buffer("direction", rows[0] - rows[1:].sum(dim=0))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits [rows, steps, 1] in float32 of hidden states [rows, steps, width]."""
        logits: torch.Tensor = hidden.float() @ self.direction.float()[:, None]
        return logits


class Seq2SeqNetwork(nn.Module):  # type: ignore[misc] # torch is not type-checked
    """The logit of the answer at the first position of the decoder.

    The network's own `forward` runs, with another head, because it scales what the head reads in some of the types.
    """

    def __init__(self, network: Any, ids: tuple[int, ...]) -> None:
        super().__init__()
        config = network.config
        self.start = config.pad_token_id if config.decoder_start_token_id is None else config.decoder_start_token_id
        network.lm_head = AnswerHead(network.lm_head.weight, ids)
        self.network = network

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Logits [rows, 1] in float32."""
        del token_type_ids  # these types have no segments
        start = torch.full_like(input_ids[:, :1], self.start)
        given = {"input_ids": input_ids, "attention_mask": attention_mask, "decoder_input_ids": start}
        logits: torch.Tensor = self.network(**given, use_cache=False).logits[:, 0]
        return logits
