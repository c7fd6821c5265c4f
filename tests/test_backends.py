"""Every model family scores like sentence-transformers' CrossEncoder on every backend, and wrong inputs would show."""

# ruff: noqa: F811
from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_models as made_of
from tiny_models import DOCUMENTS, LONG, QUERY, made, ours, own_caches  # noqa: F401 fixtures

from rerank_cli import models
from rerank_cli.errors import ModelError, UsageError
from rerank_cli.models.facts import Module
from rerank_cli.records import Pair
from rerank_cli.report import Report
from rerank_cli.scorers.encoding import Encoder
from rerank_cli.scorers.local import LocalScorer
from rerank_cli.scorers.open_local import identify, make_plan, open_engine, open_local, pad_id
from rerank_cli.scorers.prompts import make_prompt
from rerank_cli.settings import Limits, ModelSettings

PAIRS = [(QUERY, document) for document in [*DOCUMENTS, LONG, LONG[7:], DOCUMENTS[0] * 3]]
FAMILIES = list(made_of.FAMILIES)
LIMITS = Limits(max_tokens_per_doc=1_000_000, long_documents="truncate")


def close(found: list[float], expected: list[float], tolerance: float = 1e-4) -> None:
    assert np.max(np.abs(np.array(found) - np.array(expected))) <= tolerance


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("alone", [False, True], ids=["together", "alone"])
def test_torch_scores_equal_those_of_sentence_transformers(made, family: str, alone: bool) -> None:
    close(ours(made.folder(family), PAIRS, alone=alone, backend="torch"), made.oracle(family, PAIRS))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_converted_copies_score_like_sentence_transformers(made, family: str, backend: str) -> None:
    expected = made.oracle(family, PAIRS)
    close(ours(made.converted(family), PAIRS, backend=backend), expected)
    close(ours(made.converted(family), PAIRS, backend=backend, alone=True), expected)


@pytest.mark.parametrize("family", ["bert", "qwen3", "ettin"])
def test_scores_do_not_depend_on_the_batch(made, family: str) -> None:
    for backend in ("torch", "onnx", "openvino"):
        folder = made.folder(family) if backend == "torch" else made.converted(family)
        together, alone = (np.array(ours(folder, PAIRS, backend=backend, alone=how)) for how in (False, True))
        assert np.all(np.abs(together - alone) <= 1e-5 * np.maximum(1, np.abs(alone)))


@pytest.mark.parametrize(
    "pooling", ["cls", "mean", "max", "lasttoken", "weightedmean", "mean_sqrt_len_tokens", "cls+mean"]
)
def test_module_repositories_of_every_pooling(made, pooling: str) -> None:
    name = f"ettin-{pooling}"
    folder = made.folder(name, lambda place: made_of.ettin(place, pooling))
    close(ours(folder, PAIRS, backend="torch"), made.oracle(name, PAIRS))


def test_module_repositories_with_residuals_and_with_old_type_names(made) -> None:
    residual = made.folder("ettin-residual", lambda place: made_of.ettin(place, residual=True))
    close(ours(residual, PAIRS, backend="torch"), made.oracle("ettin-residual", PAIRS))
    old = made.folder("ettin-old", lambda place: made_of.ettin(place, "mean", old_names=True))
    assert json.loads((old / "modules.json").read_text())[2]["type"] == "sentence_transformers.models.Dense"
    close(ours(old, PAIRS, backend="torch"), made.oracle("ettin-old", PAIRS))


def test_a_decoder_saved_by_sentence_transformers_and_one_without_a_false_token(made) -> None:
    saved = made.folder("saved", made_of.saved_decoder)
    close(ours(saved, PAIRS, backend="torch"), made.oracle("saved", PAIRS))
    bare = made.folder("bare", lambda place: made_of.saved_decoder(place, false_token=False))
    close(ours(bare, PAIRS, backend="torch"), made.oracle("bare", PAIRS))
    assert identify(ModelSettings(model=str(bare))).scale == "logit of the yes token"
    assert identify(ModelSettings(model=str(saved))).scale == "log-odds"


def test_a_generic_tokenizer_passes_no_segment_ids(made) -> None:
    plain = made.folder("bert-plain", lambda place: made_of.bert(place, typed=False))
    close(ours(plain, PAIRS, backend="torch"), made.oracle("bert-plain", PAIRS))


def test_two_logits_are_positive_minus_other_by_the_label_names(made) -> None:
    pairs = PAIRS[:3]
    turned = made.folder("bert-turned", lambda place: made_of.bert(place, names={0: "Relevant", 1: "irrelevant"}))
    close(ours(turned, pairs, backend="torch"), [-value for value in made.oracle("bert-turned", pairs)])


def mutant(folder: Path, pairs: list[tuple[str, str]], change) -> list[float]:
    """Scores of a torch scorer after `change(model, scorer)`; the model's facts may be replaced."""
    plan = make_plan(ModelSettings(model=str(folder), backend="torch"))
    encoder = Encoder(plan.model.tokenizer)
    model = replace(plan.model, pad_id=pad_id(plan.model, encoder))
    model = change(model, None) or model
    engine = open_engine(model, encoder, plan.choice, 2)
    scorer = LocalScorer(model, encoder, make_prompt(model, encoder, None, Report()), engine, plan.info)
    change(model, scorer)
    return [score.value for score in scorer.score([Pair(*pair) for pair in pairs], LIMITS)]


def no_types(model, scorer):
    return replace(model, token_types=False)


def one_separator(model, scorer):
    if scorer:
        template = scorer.prompt._template
        scorer.prompt._template = template._replace(between=template.between[:1])


def no_suffix(model, scorer):
    if scorer:
        scorer.prompt.suffix = []


def other_pooling(model, scorer):
    pooling, *rest = model.modules
    return replace(model, modules=(Module("Pooling", {**pooling.config, "modes": ["mean"]}), *rest))


def classifier_pooling(model, scorer):
    if scorer:
        scorer.engine.network.network.config.classifier_pooling = "cls"


def no_think(model, scorer):
    return replace(model, chat=replace(model.chat, text=model.chat.text.replace("<think>\n\n</think>\n\n", "")))


def segments_swapped(model, scorer):
    if scorer:
        before, first, between, second, after = scorer.prompt._template.types
        scorer.prompt._template = scorer.prompt._template._replace(types=(before, second, between, first, after))


@pytest.mark.parametrize(
    ("family", "change"),
    [
        ("bert", no_types),
        ("bert", segments_swapped),
        ("bert-two-logits", no_types),
        ("xlm-roberta", one_separator),
        ("modernbert", classifier_pooling),
        ("qwen3", no_suffix),
        ("qwen3", no_think),
        ("qwen3-classifier", no_suffix),
        ("ettin", other_pooling),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_wrong_input_changes_the_score(made, family: str, change) -> None:
    pairs = [(QUERY, LONG), (QUERY, DOCUMENTS[0])]
    right = mutant(made.folder(family), pairs, lambda model, scorer: None)
    close(right, made.oracle(family, pairs))
    wrong = mutant(made.folder(family), pairs, change)
    assert np.max(np.abs(np.array(wrong) - np.array(right))) > 0.1


@pytest.mark.parametrize("family", FAMILIES)
def test_swapping_query_and_document_changes_the_score(made, family: str) -> None:
    pairs = PAIRS[:6]
    right = ours(made.folder(family), pairs, backend="torch")
    swapped = ours(made.folder(family), [(document, query) for query, document in pairs], backend="torch")
    assert np.max(np.abs(np.array(right) - np.array(swapped))) > 0.1


def test_out_of_memory_halves_the_batch_and_continues(made) -> None:
    scorer = open_local(ModelSettings(model=str(made.folder("bert")), backend="torch"), Report())
    engine = scorer.engine
    forward, sizes = engine.network.forward, []

    def small(input_ids, **feeds):
        sizes.append(len(input_ids))
        if len(input_ids) > 2:
            raise engine._torch.OutOfMemoryError("out of memory")
        return forward(input_ids=input_ids, **feeds)

    engine.network.forward = small
    pairs = [Pair(*pair) for pair in PAIRS] * 4
    found = [score.value for score in scorer.score(pairs, LIMITS)]
    close(found, made.oracle("bert", PAIRS) * 4)
    assert sizes[-1] <= 2  # later batches are cut beforehand
    engine.network.forward = lambda **_feeds: (_ for _ in ()).throw(engine._torch.OutOfMemoryError("none"))
    with pytest.raises(ModelError, match="out of memory on cpu for one input"):
        scorer.score(pairs[:1], LIMITS)


def test_openvino_gets_precision_and_group_size_and_caches_compiled_models(made, tmp_path: Path) -> None:
    scorer = open_local(ModelSettings(model=str(made.converted("bert")), backend="openvino"), Report())
    assert "float32" in scorer.engine.settings["INFERENCE_PRECISION_HINT"]
    assert scorer.engine.settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] == "0"
    assert list((tmp_path / "rerank-cache" / "models" / "compiled").iterdir())


def test_bf16_changes_logits_by_less_than_a_tenth(made) -> None:
    exact = np.array(ours(made.folder("bert"), PAIRS, backend="torch"))
    half = np.array(ours(made.folder("bert"), PAIRS, backend="torch", dtype="bf16"))
    assert 0 < np.max(np.abs(exact - half)) <= 0.1


def test_the_digest_changes_with_whatever_can_change_a_score(made, tmp_path: Path) -> None:
    folder = made.copied("qwen3", tmp_path / "model")
    settings = ModelSettings(model=str(folder), backend="torch")
    digests = [identify(settings).digest]
    assert identify(settings).digest == open_local(settings, Report()).info.digest == digests[0]
    digests.append(identify(replace(settings, instruction="Find code")).digest)
    digests.append(identify(replace(settings, dtype="bf16")).digest)
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    digests.append(identify(settings).digest)
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    digests.append(identify(settings).digest)
    converted = [
        ModelSettings(model=str(made.converted("qwen3")), dtype=dtype, backend="onnx") for dtype in ("fp32", "int8")
    ]
    digests += [identify(setting).digest for setting in converted]
    assert len(set(digests)) == len(digests)


def test_an_instruction_reaches_only_models_that_take_one(made) -> None:
    told = "Find the page that a child would like"
    pairs = PAIRS[:3]
    close(ours(made.folder("qwen3"), pairs, backend="torch", instruction=told), made.oracle("qwen3", pairs, told))
    close(ours(made.converted("qwen3"), pairs, instruction=told), made.oracle("qwen3", pairs, told))
    with pytest.raises(UsageError, match="does not take an instruction"):
        ours(made.folder("bert"), pairs, backend="torch", instruction=told)


def test_a_default_prompt_of_the_repository_is_applied(made) -> None:
    def prompted(place: Path) -> Path:
        made_of.ettin(place)
        path = place / "config_sentence_transformers.json"
        told = json.loads(path.read_text())
        path.write_text(json.dumps({**told, "prompts": {"search": "query: "}, "default_prompt_name": "search"}))
        return place

    folder = made.folder("ettin-prompted", prompted)
    close(ours(folder, PAIRS[:6], backend="torch"), made.oracle("ettin-prompted", PAIRS[:6]))
    assert models.resolve(str(folder)).instruction == "query: "


@pytest.mark.parametrize("backend", ["onnx", "openvino", "torch"])
def test_a_backend_writes_nothing_into_home_and_opens_no_socket(made, tmp_path: Path, backend: str) -> None:
    home, cache = tmp_path / "home", tmp_path / "cache"
    home.mkdir()
    folder = made.folder("bert") if backend == "torch" else made.converted("bert")
    code = (
        "import socket\n"
        "def refuse(*args, **kwargs): raise AssertionError('a socket was opened')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
        "from rerank_cli.api import Reranker\n"
        f"with Reranker({str(folder)!r}, backend={backend!r}) as r: print(r.score('capital', ['a city']))\n"
    )
    env = {"HOME": str(home), "RERANK_CACHE_DIR": str(cache), "PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(home.rglob("*")) == []
