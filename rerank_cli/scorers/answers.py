"""The tokens by which a decoder answers, and what its prompt looks like: for the score, for people and for `doctor`.

It knows tokenizers and templates; nothing of networks or scores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerank_cli.errors import ModelError
from rerank_cli.report import Report
from rerank_cli.scorers.encoding import Encoder
from rerank_cli.scorers.prompts import ChatPrompt, DocumentSlice, foreign_controls, make_prompt

if TYPE_CHECKING:
    from rerank_cli.models import LocalModel
    from rerank_cli.scorers.prompts import Prompt

SAMPLE = ("What is the capital of France?", "Paris is the capital of France.")
WORDS = ("yes", "no")


def answer_tokens(model: LocalModel, encoder: Encoder) -> tuple[int, ...]:
    """Ids of `yes`, and of `no` if it counts: the template's, else those of LogitScore, else the words themselves.

    Raises ModelError for a word that is not one token.
    """
    if model.chat is not None and model.chat.answers:
        return tuple(_one(model, encoder, answer) for answer in model.chat.answers)
    if model.modules:
        config = model.modules[-1].config
        return tuple(int(config[f"{name}_token_id"]) for name in ("true", "false")
                     if config.get(f"{name}_token_id") is not None)  # fmt: skip
    numbers = tuple(encoder.token_id(word) for word in WORDS)
    if None in numbers:
        hint = "this is not a yes/no reranker; `--template FILE` can name other tokens"
        raise ModelError(f"the tokenizer of {model.name} has no tokens `yes` and `no`", hint)
    return tuple(number for number in numbers if number is not None)


def _one(model: LocalModel, encoder: Encoder, answer: str | int) -> int:
    """The id of an answer, tokenised as a text of its own: a mark of a word's start may belong to it."""
    if isinstance(answer, int):
        return answer
    ids = encoder.ids(answer)
    if len(ids) != 1:
        hint = "a score is read from one token: a template file can name another, or its id as a number"
        raise ModelError(f"the tokenizer of {model.name} makes {len(ids)} tokens of the answer `{answer}`", hint)
    return ids[0]


def sample(model: LocalModel) -> dict[str, Any]:
    """The prompt of a sample pair as the model gets it, and the answer tokens; empty for a model that takes pairs.

    Raises ModelError or UsageError where template and tokenizer do not fit.
    """
    if model.chat is None:
        return {}
    encoder = Encoder(model.tokenizer, lower_case=model.lower_case, t5=model.family == "seq2seq")
    shown: dict[str, Any] = {"sample": _text_of(make_prompt(model, encoder, None, Report()), encoder, *SAMPLE)}
    if model.family == "decoder":
        numbers = answer_tokens(model, encoder)
        shown["answers"] = {word: {"id": number, "token": encoder.text([number])}
                            for word, number in zip(WORDS, numbers, strict=False)}  # fmt: skip
    return shown


def prompt_problems(model: LocalModel, encoder: Encoder, prompt: Prompt) -> list[str]:
    """What is wrong with a chat template for this tokenizer: a role that is cut, foreign control tokens."""
    if not isinstance(prompt, ChatPrompt):
        return []
    query, document = SAMPLE
    problems = []
    for texts in ((query, document), (query, f"{document} " * model.max_tokens)):
        text = _text_of(prompt, encoder, *texts)
        for role, expected in (("query", query), ("document", document)):
            if expected.casefold() not in text.casefold():
                problems.append(f"the {role} is cut or missing")
    foreign = foreign_controls(prompt.text, encoder)
    problems += [f"`{token}` of the template is not a control token of this tokenizer" for token in foreign]
    return list(dict.fromkeys(problems))


def _text_of(prompt: Prompt, encoder: Encoder, query: str, document: str) -> str:
    """A whole input as text; what is beyond the model's length is left out."""
    room = prompt.room(query)
    (tokens,) = encoder.documents([document], long=room)
    ids, _ = prompt.build(query, DocumentSlice(document, tokens, 0, min(room, len(tokens.ids))))
    return encoder.text(ids)
