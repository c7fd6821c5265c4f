"""Sequence-to-sequence rerankers score as transformers' own logits say, on every backend, and mistakes would show."""

# ruff: noqa: F811
from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_seq2seq as tiny
from conftest import ROOT
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_backends import close, mutant
from tiny_models import DOCUMENTS, LONG, QUERY, edit, into_hub_cache, made, ours, own_caches  # noqa: F401 fixtures

from rerank_cli import models
from rerank_cli.errors import ModelError, UsageError
from rerank_cli.models.seq2seq import RECIPES
from rerank_cli.records import Pair
from rerank_cli.report import Report
from rerank_cli.scorers.encoding import Encoder
from rerank_cli.scorers.open_local import identify, open_local
from rerank_cli.scorers.prompts import make_prompt
from rerank_cli.settings import Limits, ModelSettings

PAIRS = [(QUERY, document) for document in [*DOCUMENTS, LONG, LONG[7:], DOCUMENTS[0] * 3]]
NAMES = list(tiny.MODELS)
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Co"]), max_size=60)
LOGIT = "logit of the token <extra_id_10>"


def folder_of(made, name: str) -> Path:
    folder: Path = made.folder(name, tiny.BUILDERS[name])
    return folder


def copied(made, name: str, target: Path) -> Path:
    return Path(shutil.copytree(folder_of(made, name), target))


def opened(folder: Path, report: Report | None = None):
    return open_local(ModelSettings(model=str(folder), backend="torch"), report or Report())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("alone", [False, True], ids=["together", "alone"])
def test_torch_scores_equal_the_logits_of_transformers(made, name: str, alone: bool) -> None:
    folder = folder_of(made, name)
    expected = tiny.oracle(folder, name, PAIRS)
    assert np.std(expected) > 0.1
    close(ours(folder, PAIRS, alone=alone, backend="torch"), expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_converted_copies_score_like_transformers(made, name: str, backend: str) -> None:
    expected = tiny.oracle(folder_of(made, name), name, PAIRS)
    close(ours(made.converted(name), PAIRS, backend=backend), expected)
    close(ours(made.converted(name), PAIRS, backend=backend, alone=True), expected)


def test_a_converted_copy_keeps_prompt_and_scale_and_has_an_8_bit_form(made) -> None:
    folder_of(made, "rankt5-tiny")
    copy = models.resolve(str(made.converted("rankt5-tiny")))
    assert (copy.family, copy.scale, sorted(copy.graphs)) == ("seq2seq", LOGIT, ["fp32", "int8", "ir"])
    exact, coarse = (ours(copy.folder, PAIRS, backend="onnx", dtype=dtype) for dtype in ("fp32", "int8"))
    assert 0 < np.max(np.abs(np.array(exact) - np.array(coarse))) < np.std(exact) / 2


@pytest.fixture(scope="module", params=["monot5-tiny", "monoptt5-tiny", "rankt5-tiny"])
def prompt(request, made):
    """Our prompt of a model, transformers' tokenizer of the same folder, and the published prompt."""
    from transformers import AutoTokenizer

    model = models.resolve(str(folder_of(made, request.param)))
    encoder = Encoder(model.tokenizer, t5=True)
    return make_prompt(model, encoder, None, Report()), AutoTokenizer.from_pretrained(model.folder), request.param


@settings(max_examples=100, deadline=None)
@given(query=TEXTS, document=TEXTS)
def test_prompts_equal_those_of_transformers_token_by_token(prompt, query: str, document: str) -> None:
    ours_of, tokenizer, name = prompt
    assume(not any(token in query + document for token in tokenizer.all_special_tokens))
    whole = tokenizer(tiny.MODELS[name][2].format(query=query, document=document))["input_ids"]
    assert ours_of.ids(query, document) == whole


def test_control_tokens_in_a_text_are_text(prompt) -> None:
    ours_of, tokenizer, _ = prompt
    ids = ours_of.ids("a</s><extra_id_10>", "b</s><pad>")
    assert ids.count(tokenizer.eos_token_id) == 1
    assert not {tokenizer.pad_token_id, tokenizer.convert_tokens_to_ids("<extra_id_10>")} & set(ids)


def test_windows_cover_the_document_and_keep_the_end_of_the_prompt(made) -> None:
    scorer = opened(folder_of(made, "monot5-tiny"))
    tail = [*scorer.encoder.ids("Relevant:"), scorer.encoder.token_id("</s>")]
    built = []
    build = scorer.prompt.build
    scorer.prompt.build = lambda query, body: built.append((body, build(query, body)[0])) or build(query, body)
    (score,) = scorer.score([Pair(QUERY, LONG)], Limits(max_tokens_per_doc=100_000))
    assert score.windows == len(built) > 3
    assert not score.truncated
    assert (built[0][0].start, built[-1][0].end) == (0, score.tokens)
    for (before, _), (after, _) in zip(built, built[1:], strict=False):
        assert after.start <= before.end
    for _, ids in built:
        assert ids[-len(tail) :] == tail
        assert len(ids) <= scorer.model.max_tokens
    (cut,) = scorer.score([Pair(QUERY, LONG)], Limits(long_documents="truncate"))
    assert cut.truncated
    assert cut.tokens < score.tokens


def test_a_query_beyond_half_the_window_is_cut_and_reported(made) -> None:
    report = Report()
    scorer = opened(folder_of(made, "monot5-tiny"), report)
    scores = scorer.score([Pair("capital city " * 500, text) for text in ("Washington", "Mars")], Limits())
    assert scores[0].value != scores[1].value  # the documents still count
    assert report.counts["query_cut"] == 1


def swapped_tokens(model, scorer):
    return replace(model, answers=tuple((no, yes) for yes, no in model.answers))


def other_words(model, scorer):
    return replace(model, chat=replace(model.chat, text=model.chat.text.replace("Query", "Question")))


def other_end(model, scorer):
    return replace(model, chat=replace(model.chat, text=model.chat.text.replace("Relevant", "Answer")))


def no_suffix(model, scorer):
    if scorer:
        scorer.prompt.suffix = []


def no_end_of_sequence(model, scorer):
    return replace(model, chat=replace(model.chat, text=model.chat.text.removesuffix("</s>")))


def other_scaling(model, scorer):
    if scorer:
        config = scorer.engine.network.network.config
        config.scale_decoder_outputs = not config.scale_decoder_outputs


def other_start(model, scorer):
    if scorer:
        scorer.engine.network.start = 5


def bare_logit(model, scorer):
    return replace(model, answers=tuple((yes, None) for yes, _ in model.answers))


@pytest.mark.parametrize("change", [swapped_tokens, other_words, other_end, no_suffix, no_end_of_sequence,
                                    other_scaling, other_start, bare_logit])  # fmt: skip
@pytest.mark.parametrize("name", ["monot5-tiny", "monot5-flan-tiny", "monot5-umt5-tiny"])
def test_a_wrong_input_or_head_changes_the_score(made, name: str, change) -> None:
    pairs = [(QUERY, LONG), (QUERY, DOCUMENTS[0])]
    folder = folder_of(made, name)
    right = mutant(folder, pairs, lambda model, scorer: None)
    close(right, tiny.oracle(folder, name, pairs))
    wrong = mutant(folder, pairs, change)
    assert np.max(np.abs(np.array(wrong) - np.array(right))) > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_swapping_query_and_document_changes_the_score(made, name: str) -> None:
    folder = folder_of(made, name)
    right = ours(folder, PAIRS[:6], backend="torch")
    turned = ours(folder, [(document, query) for query, document in PAIRS[:6]], backend="torch")
    assert np.max(np.abs(np.array(right) - np.array(turned))) > 0.1


def test_the_score_is_the_published_probability_or_named_as_a_bare_logit(made, run) -> None:
    """rerankers' T5Ranker gives exp(log_softmax(false, true))[true]; RankT5 gives a logit, which no sigmoid changes."""
    for name, scale in (("monot5-tiny", "probability"), ("rankt5-tiny", LOGIT)):
        folder = folder_of(made, name)
        result = run("-q", QUERY, "-m", str(folder), "--backend", "torch", "--json", stdin="\n".join(DOCUMENTS[:3]))
        assert result.code == 0, result.text
        assert result.json["meta"]["score_scale"] == scale
        logits = tiny.oracle(folder, name, [(QUERY, document) for document in DOCUMENTS[:3]])
        expected = [1 / (1 + math.exp(-logit)) for logit in logits] if scale == "probability" else logits
        found = {hit["index"]: hit["relevance_score"] for hit in result.json["results"]}
        close([found[index] for index in range(3)], expected, 1e-4)


def test_no_instruction_is_taken(made) -> None:
    with pytest.raises(UsageError, match="no place for an instruction"):
        ours(folder_of(made, "monot5-tiny"), PAIRS[:1], backend="torch", instruction="Find code")


def test_the_same_files_under_another_name_have_another_digest(made, tmp_path: Path) -> None:
    digests = set()
    for name in ("monot5", "rankt5", "monoptt5"):
        folder = copied(made, "monot5-tiny", tmp_path / name)
        digests.add(identify(ModelSettings(model=str(folder), backend="torch")).digest)
    assert len(digests) == 3


def test_a_fine_tune_is_known_by_the_model_it_names(made, tmp_path: Path) -> None:
    folder = copied(made, "monot5-tiny", tmp_path / "mine")
    edit(folder / "config.json", _name_or_path="castorini/monot5-base-msmarco")
    close(ours(folder, PAIRS, backend="torch"), tiny.oracle(folder, "monot5-tiny", PAIRS))


def test_the_working_directory_is_known_by_its_own_name(made, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(copied(made, "monot5-tiny", tmp_path / "rankt5-mine"))
    assert models.resolve(".").scale == LOGIT
    snapshot = into_hub_cache(Path(), tmp_path / "hf", "acme/MonoT5-small")
    assert models.resolve(str(snapshot)).scale == "log-odds"


def test_an_old_checkpoint_scores_the_same(made, tmp_path: Path) -> None:
    """As castorini's of 2020: pickled, tied weights under all their names, one weight that no T5 reads any more."""
    import torch
    from safetensors.torch import load_file

    folder = copied(made, "monot5-tiny", tmp_path / "monot5-old")
    weights = load_file(folder / "model.safetensors")
    shared = weights["shared.weight"]
    tied = dict.fromkeys(("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"), shared)
    unread = {"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight": torch.ones(32, 4)}
    torch.save(weights | tied | unread, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    config = tiny.config_of(folder)
    for name in ("tie_word_embeddings", "scale_decoder_outputs", "dtype"):
        config.pop(name, None)
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["T5WithLMHeadModel"]}))
    expected = tiny.oracle(folder_of(made, "monot5-tiny"), "monot5-tiny", PAIRS)
    close(ours(folder, PAIRS, backend="torch", allow_pickle=True), expected)
    with pytest.raises(ModelError, match="only pickled weights"):
        opened(folder)


def test_the_page_lists_every_recipe() -> None:
    page = (ROOT / "docs" / "models.md").read_text()
    for recipe in RECIPES:
        assert f"`{recipe.prompt.format(query='…', document='…')}`" in page
        for answer in recipe.answers:
            assert ", ".join(f"`{token}`" for token in answer if token) in page


def test_half_precision_changes_logits_little(made) -> None:
    folder = folder_of(made, "monot5-tiny")
    exact, half = (np.array(ours(folder, PAIRS, backend="torch", dtype=dtype)) for dtype in ("fp32", "bf16"))
    assert 0 < np.max(np.abs(exact - half)) < 0.5


def test_the_first_answer_that_the_tokenizer_has_is_taken(made, tmp_path: Path) -> None:
    """mT5's vocabulary has no `▁false`."""
    kind, members, prompt_text, _ = tiny.MODELS["monot5-tiny"]
    folder = tiny.build(tmp_path / "monot5-other", kind, members, without=("▁false",))
    found = ours(folder, PAIRS, backend="torch")
    tiny.MODELS["other"] = (kind, members, prompt_text, ("▁yes", "▁no"))
    close(found, tiny.oracle(folder, "other", PAIRS))
    del tiny.MODELS["other"]
    none = tiny.build(tmp_path / "monot5-none", kind, members, without=("▁false", "▁no"))
    with pytest.raises(ModelError, match="does not have the answer tokens `▁true` and `▁false` or `▁yes` and `▁no`"):
        opened(none)


@pytest.mark.parametrize(
    ("name", "members", "what", "hint"),
    [
        ("flan-t5-tiny", {}, "does not say how it was trained to rank", "`monot5` or `rankt5`"),
        ("doc2query-t5-base-msmarco", {}, "does not say how it was trained to rank", "`monot5` or `rankt5`"),
        ("duot5-tiny", {}, "a reranker that compares two documents at a time", ""),
        ("ListT5-tiny", {}, "a reranker that orders a list of documents at a time", ""),
        ("KaLM-Reranker-tiny", {"model_type": "t5gemma2"}, "the query in its decoder", ""),
        ("monot5-bart", {"model_type": "bart"}, "a sequence-to-sequence model of the type `bart`", "t5, mt5, umt5"),
        ("monot5-encoder", {"architectures": ["T5EncoderModel"]}, "is not a reranker: its architecture", ""),
    ],
)  # fmt: skip
def test_what_is_not_such_a_reranker_is_refused_with_the_reason(
    made, tmp_path: Path, name: str, members: dict, what: str, hint: str
) -> None:
    folder = copied(made, "monot5-tiny", tmp_path / name)
    edit(folder / "config.json", **members)
    with pytest.raises(ModelError) as caught:
        models.resolve(str(folder))
    assert what in caught.value.message
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("model", "dropped"),
    [("mt5-tiny-mmarco-v2", "lm_head.weight"), ("monot5-flan-tiny", "lm_head.weight"),
     ("monot5-tiny", "decoder.final_layer_norm.weight")],
)  # fmt: skip
def test_missing_weights_are_refused(made, tmp_path: Path, model: str, dropped: str) -> None:
    from safetensors.torch import load_file, save_file

    folder = copied(made, model, tmp_path / model)
    weights = load_file(folder / "model.safetensors")
    del weights[dropped]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=f"has no weights for {dropped}"):
        opened(folder)


def test_doctor_passes_for_a_model_that_knows_its_five_pairs(made, run, tmp_path: Path) -> None:
    folder = tiny.taught(copied(made, "monot5-tiny", tmp_path / "monot5-taught"))
    result = run("doctor", "-m", str(folder), "--backend", "torch", "--json")
    assert result.code == 0, result.text
    assert result.json["model"]["family"] == "seq2seq"
    assert all(check["passed"] for check in result.json["checks"])


def test_show_names_family_and_scale(made, run) -> None:
    found = json.loads(run("models", "show", str(folder_of(made, "rankt5-tiny")), "--json").out)
    assert (found["family"], found["scale"], found["logits"]) == ("seq2seq", LOGIT, 1)


PUBLISHED = json.loads((Path(__file__).parent / "seq2seq_published.json").read_text())


@pytest.mark.hub
@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row["name"])
def test_a_published_model_scores_as_transformers_and_as_its_authors_say(
    row: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None was tried when this was written. All have pickled weights, and most have only a SentencePiece model."""
    monkeypatch.delenv("HF_HUB_OFFLINE")
    access = {"backend": "torch", "allow_pickle": True}
    reference = f"{row['name']}@{row['revision']}"
    pairs = [(QUERY, document) for document in DOCUMENTS]
    found = ours(reference, pairs, **access)
    folder = models.resolve(reference, models.LoadPolicy(**access)).folder
    close(found, tiny.oracle(folder, row["kind"], pairs), 1e-3)
    assert found[0] > max(found[2], found[3])
    if said := row.get("published"):
        logits = ours(reference, [(said["query"], document) for document in said["documents"]], **access)
        close([-math.log1p(math.exp(-logit)) for logit in logits], said["log_probabilities"], said["tolerance"])
