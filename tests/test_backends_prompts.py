"""Inputs of pair and chat templates equal those of transformers' own tokenizers, token by token."""

# ruff: noqa: F811
from __future__ import annotations

import pytest
import tiny_models as made_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tiny_models import CHAT, LONG, QUERY, made, own_caches  # noqa: F401 fixtures

from rerank_cli import models
from rerank_cli.errors import ModelError, UsageError
from rerank_cli.models import chat as chats
from rerank_cli.models.facts import Chat
from rerank_cli.records import Pair
from rerank_cli.report import Report
from rerank_cli.scorers.encoding import Encoder
from rerank_cli.scorers.open_local import open_local
from rerank_cli.scorers.prompts import ChatPrompt, DocumentSlice, make_prompt
from rerank_cli.settings import Limits, ModelSettings

# The prompt of the Qwen3-Reranker model card, byte for byte.
CARD = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    "<Instruct>: {}\n<Query>: {}\n<Document>: {}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
)
DEFAULT = "Given a web search query, retrieve relevant passages that answer the query"
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Co"]), max_size=60)


@pytest.fixture(scope="module")
def qwen(made):
    """Our prompt of a decoder, and transformers' tokenizer of the same folder."""
    from transformers import AutoTokenizer

    model = models.resolve(str(made.folder("qwen3")))
    encoder = Encoder(model.tokenizer)
    return make_prompt(model, encoder, None, Report()), AutoTokenizer.from_pretrained(model.folder), encoder


@settings(max_examples=150, deadline=None)
@given(query=TEXTS, document=TEXTS)
def test_chat_prompts_equal_those_of_transformers_token_by_token(qwen, query: str, document: str) -> None:
    prompt, tokenizer, _ = qwen
    assume(not any(token in query + document for token in tokenizer.all_special_tokens))
    messages = [{"role": "query", "content": query}, {"role": "document", "content": document}]
    whole = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True)["input_ids"]
    assert prompt.ids(query, document) == whole


def test_the_prompts_of_sentence_transformers_short_and_too_long(made, qwen) -> None:
    prompt, _, encoder = qwen
    pairs = [(QUERY, document) for document in [*made_of.DOCUMENTS, LONG, LONG[3:]]]
    features = made.cross_encoder("qwen3").preprocess([list(pair) for pair in pairs])
    for row, mask, (query, document) in zip(features["input_ids"], features["attention_mask"], pairs, strict=True):
        room = prompt.room(query)
        (tokens,) = encoder.documents([document], long=room)
        found, _ = prompt.build(query, DocumentSlice(document, tokens, 0, min(room, len(tokens.ids))))
        assert found == row[mask.bool()].tolist()


def test_the_built_in_prompt_is_that_of_the_model_card(made, tmp_path) -> None:
    from transformers import AutoTokenizer

    folder = made.folder("Qwen3-Reranker-tiny", lambda place: made_of.qwen_decoder(place, chat=False))
    model = models.resolve(str(folder))
    encoder, tokenizer = Encoder(model.tokenizer), AutoTokenizer.from_pretrained(folder)
    for instruction in (None, "Find recipes"):
        text = CARD.format(instruction or DEFAULT, QUERY, "Eggs, sunny.")
        found = make_prompt(model, encoder, instruction, Report()).ids(QUERY, "Eggs, sunny.")
        assert found == tokenizer(text, add_special_tokens=False)["input_ids"]
    unnamed = made.copied("Qwen3-Reranker-tiny", tmp_path / "fine-tuned")
    with pytest.raises(ModelError, match="decoder without a template"):
        models.resolve(str(unnamed))


def test_control_tokens_in_query_and_document_are_text(qwen) -> None:
    prompt, _, encoder = qwen
    plain = prompt.ids("a", "b")
    found = prompt.ids("a<|im_end|>", "b<|im_start|>system\n<|endoftext|>")
    for token in encoder.controls().values():
        assert found.count(token) == plain.count(token)


def test_a_query_beyond_half_the_window_is_cut_and_reported(made) -> None:
    report = Report()
    scorer = open_local(ModelSettings(model=str(made.folder("qwen3")), backend="torch"), report)
    (score,) = scorer.score([Pair("capital city " * 500, "Washington")], Limits())
    assert score.value is not None
    assert report.counts["query_cut"] == 1


def test_windows_of_a_decoder_cover_the_document_and_keep_the_suffix(made) -> None:
    scorer = open_local(ModelSettings(model=str(made.folder("qwen3")), backend="torch"), Report())
    (score,) = scorer.score([Pair(QUERY, LONG)], Limits(max_tokens_per_doc=100_000))
    assert score.windows > 3
    built = []
    build = scorer.prompt.build
    scorer.prompt.build = lambda query, body: built.append((body, build(query, body)[0])) or build(query, body)
    scorer.score([Pair(QUERY, LONG)], Limits(max_tokens_per_doc=100_000))
    ends = [body.end for body, _ in built]
    starts = [body.start for body, _ in built]
    assert starts[0] == 0
    assert ends[-1] == len(built[0][0].tokens.ids)
    assert all(start <= end for start, end in zip(starts[1:], ends[:-1], strict=True))
    for _, ids in built:
        assert ids[-len(scorer.prompt.suffix) :] == scorer.prompt.suffix
        assert len(ids) <= scorer.model.max_tokens


def render(source: str, instruction: str | None = None, **more) -> str:
    return chats.render(Chat("jinja", source, **more), instruction, models.BUILTIN_FOLDER)


def test_templates_that_lose_a_role_or_misbehave_are_refused() -> None:
    with pytest.raises(ModelError, match="drops the document"):
        render("{% for m in messages %}{% if m.role == 'query' %}{{ m.content }}{% endif %}{% endfor %}")
    with pytest.raises(ModelError, match="cannot be rendered"):
        render("{{ messages[7].content }} {{ nothing.at.all }}")
    with pytest.raises(ModelError, match="refuses: no"):
        render("{{ raise_exception('no') }}")
    with pytest.raises(ModelError, match="cannot be rendered"):
        render("{{ ''.__class__.__mro__[1].__subclasses__() }}")
    with pytest.raises(UsageError, match="no place for an instruction"):
        render("{{ messages[-2].content }}{{ messages[-1].content }}", "Find code")


def test_structured_contents_and_special_tokens_are_rendered() -> None:
    text = render("{{ bos_token }}{{ messages[0].content[0].text }}|{{ messages[1].content[0].text }}", structured=True,
                  tokens={"bos_token": "<s>"})  # fmt: skip
    assert text == f"<s>{chats.QUERY}|{chats.DOCUMENT}"


def test_a_converted_template_gives_the_rendered_text() -> None:
    plain = chats.plain(Chat("jinja", CHAT), models.BUILTIN_FOLDER)
    for instruction in (None, "Find {{ code }}"):
        assert chats.render(plain, instruction, models.BUILTIN_FOLDER) == render(CHAT, instruction)


PARTS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | map(attribute='text') | join('') }}<|im_end|>\n"
    "{% endfor %}<|im_start|>assistant\n"
)


def test_the_repository_says_which_template_and_which_shape_of_messages(made) -> None:
    def build(folder):
        made_of.saved_decoder(folder)
        (folder / "additional_chat_templates").mkdir()
        (folder / "additional_chat_templates" / "reranker.jinja").write_text(PARTS)
        forward = {"method": "forward", "method_output_name": "logits"}
        modality = {"text": forward, "message": {**forward, "format": "structured"}}
        processing = {"chat_template": {"chat_template": "reranker"}}
        made_of.edit(folder / "sentence_bert_config.json", modality_config=modality, processing_kwargs=processing)
        return folder

    folder = made.folder("several-templates", build)
    pairs = [(QUERY, document) for document in [*made_of.DOCUMENTS, LONG]]
    expected = made.oracle("several-templates", pairs)
    assert made_of.ours(folder, pairs, backend="torch") == pytest.approx(expected, abs=1e-4)
    other = made.folder("one-template", made_of.saved_decoder)
    assert max(abs(a - b) for a, b in zip(expected, made_of.ours(other, pairs, backend="torch"), strict=True)) > 0.1


def test_a_template_longer_than_the_model_is_refused(made) -> None:
    encoder = Encoder(models.resolve(str(made.folder("qwen3"))).tokenizer)
    with pytest.raises(ModelError, match="alone is longer than the model's 20 tokens"):
        ChatPrompt(encoder, render(CHAT), 20, Report())
