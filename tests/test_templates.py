# ruff: noqa: F811
"""The built-in templates give the scores of the code that each family publishes; a template chosen or written counts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tiny_decoders as decoders
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tiny_models import DOCUMENTS, LONG, QUERY, edit, made, ours, own_caches  # noqa: F401 fixtures

from rerank_cli import models
from rerank_cli.errors import ModelError
from rerank_cli.models import LoadPolicy
from rerank_cli.models.templates import BREAK, scoring_names, table
from rerank_cli.report import Report
from rerank_cli.scorers.encoding import Encoder
from rerank_cli.scorers.open_local import open_local
from rerank_cli.scorers.prompts import DocumentSlice, make_prompt
from rerank_cli.settings import ModelSettings

PAIRS = [(QUERY, document) for document in [*DOCUMENTS, LONG]]
TOLERANCE = 1e-4
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Co"]), max_size=40)
# name of the folder, as the repository is called -> how it is made, the ids of an input, the answers, the scale
FAMILIES = {
    "mxbai-rerank-base-v2": (lambda place: decoders.causal(place, "Qwen2"), decoders.mxbai_ids, ("1", "0"), "log-odds"),
    "bge-reranker-v2-gemma": (decoders.bge_gemma, decoders.gemma_ids, ("Yes",), "logit of the yes token"),
    "zerank-1-small": (
        lambda place: decoders.causal(place, "Qwen3", head_dim=8), decoders.zerank_ids, ("Yes",), "logit of the yes token"
    ),
}  # fmt: skip


def tokenizer_of(folder: Path):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_recognised_by_name_scores_as_its_published_code(made, name: str) -> None:
    build, ids, answers, scale = FAMILIES[name]
    folder = made.folder(name, build)
    tokenizer = tokenizer_of(folder)
    expected = decoders.scores(folder, [ids(tokenizer, *pair) for pair in PAIRS], decoders.single(tokenizer, *answers))
    assert models.resolve(str(folder)).scale == scale
    assert ours(folder, PAIRS, backend="torch") == pytest.approx(expected, abs=TOLERANCE)
    assert ours(folder, PAIRS, backend="torch", alone=True) == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_renamed_copy_needs_the_template_and_scores_the_same(made, name: str, tmp_path: Path) -> None:
    folder = made.folder(name, FAMILIES[name][0])
    renamed = made.copied(name, tmp_path / "fine-tuned")
    with pytest.raises(ModelError, match="without a template"):
        models.resolve(str(renamed))
    row = next(row.name for row in table().values() if row.matches(models.resolve(str(folder)).config, (name,)))
    assert ours(renamed, PAIRS, backend="torch", template=row) == ours(folder, PAIRS, backend="torch")


@pytest.fixture(scope="module")
def prompts(made):
    """Our prompt of each family, its published ids and transformers' tokenizer."""
    found = []
    for name, (build, ids, _, _) in FAMILIES.items():
        model = models.resolve(str(made.folder(name, build)))
        found.append((make_prompt(model, Encoder(model.tokenizer), None, Report()), ids, tokenizer_of(model.folder)))
    return found


@settings(max_examples=80, deadline=None)
@given(query=TEXTS, document=TEXTS)
def test_any_texts_become_the_tokens_of_the_published_code(prompts, query: str, document: str) -> None:
    for prompt, ids, tokenizer in prompts:
        assume(not any(token in query + document for token in tokenizer.all_special_tokens))
        assert prompt.ids(query, document) == ids(tokenizer, query, document)


def test_instructions_go_where_the_published_code_puts_them(made) -> None:
    told = "Find the text that names a city."
    for name, ids in (("mxbai-rerank-base-v2", decoders.mxbai_ids), ("bge-reranker-v2-gemma", decoders.gemma_ids)):
        build, _, answers, _ = FAMILIES[name]
        folder = made.folder(name, build)
        tokenizer = tokenizer_of(folder)
        rows = [ids(tokenizer, *pair, told) for pair in PAIRS[:4]]
        expected = decoders.scores(folder, rows, decoders.single(tokenizer, *answers))
        assert ours(folder, PAIRS[:4], backend="torch", instruction=told) == pytest.approx(expected, abs=TOLERANCE)


def test_a_document_before_the_query_is_cut_and_the_query_stays(made) -> None:
    folder = made.folder(
        "ctxl-rerank-v2-instruct-multilingual-1b", lambda place: decoders.causal(place, "Qwen3", head_dim=8)
    )
    tokenizer = tokenizer_of(folder)
    rows = [decoders.ctxl_ids(tokenizer, *pair) for pair in PAIRS[:-1]]
    assert ours(folder, PAIRS[:-1], backend="torch") == pytest.approx(decoders.scores(folder, rows, [0]), abs=TOLERANCE)
    rows = [decoders.ctxl_ids(tokenizer, *pair, "Prefer new texts.") for pair in PAIRS[:-1]]
    told = ours(folder, PAIRS[:-1], backend="torch", instruction="Prefer new texts.")
    assert told == pytest.approx(decoders.scores(folder, rows, [0]), abs=TOLERANCE)
    model = models.resolve(str(folder))
    assert model.scale == "logit of token 0"
    encoder = Encoder(model.tokenizer)
    prompt = make_prompt(model, encoder, None, Report())
    (tokens,) = encoder.documents([LONG], long=1)
    found, _ = prompt.build(QUERY, DocumentSlice(LONG, tokens, 0, min(prompt.room(QUERY), len(tokens.ids))))
    whole = decoders.ctxl_ids(tokenizer, QUERY, LONG)
    tail = tokenizer(f" <Query> {QUERY} ??")["input_ids"]
    assert len(found) == decoders.LIMIT < len(whole)
    assert found[-len(tail) + 2 :] == tail[2:] == whole[-len(tail) + 2 :]
    assert found[:300] == whole[:300]


@pytest.mark.parametrize("name", FAMILIES)
def test_changed_prompts_other_answers_and_a_lost_end_change_the_scores(made, name: str, tmp_path: Path) -> None:
    build, _, answers, _ = FAMILIES[name]
    folder = made.folder(name, build)
    row = next(row for row in table().values() if row.matches(models.resolve(str(folder)).config, (name,)))
    pieces = row.prompt.replace("{instruction}", row.instruction or "").split(BREAK)
    whole = BREAK.join(pieces)
    end = whole[whole.index("{document}") + len("{document}") :]
    swapped = whole.replace("{query}", "\0").replace("{document}", "{query}").replace("\0", "{document}")
    changes = {
        "no end": (whole.removesuffix(end), answers),
        "swapped roles": (swapped, answers),
        "another word": (f"Here: {whole}", answers),
        "other answers": (whole, ("no", "yes")[: len(answers)]),
    }
    file = tmp_path / "changed.json"
    file.write_text(written(pieces, *answers))
    right = ours(folder, PAIRS[:3], backend="torch", template=str(file))
    assert right == ours(folder, PAIRS[:3], backend="torch")
    for change, (prompt, tokens) in changes.items():
        file.write_text(written(prompt.split(BREAK), *tokens))
        wrong = ours(folder, PAIRS[:3], backend="torch", template=str(file))
        assert max(abs(a - b) for a, b in zip(right, wrong, strict=True)) > 0.1, change


def written(prompt: list[str], yes: str, no: str | None = None) -> str:
    """A template file of JSON."""
    return json.dumps({"prompt": prompt, "yes": yes} | ({"no": no} if no else {}))


# What transformers' classes do to the logits of the vocabulary, by published configuration member.
CHANGED: dict[str, dict[str, float]] = {
    "Llama": {},
    "Mistral": {},
    "Phi3": {},  # of no type that is known here: compared when it is loaded
    "Granite": {"logits_scaling": 8.0},
    "Cohere": {"logit_scale": 0.0625},
    "Gemma2": {"final_logit_softcapping": 3.0, "head_dim": 8, "query_pre_attn_scalar": 8},
}


@pytest.mark.parametrize("kind", CHANGED)
def test_scaled_and_capped_logits_are_those_of_transformers(made, kind: str, tmp_path: Path) -> None:
    folder = made.folder(f"tiny-{kind}", lambda place: decoders.causal(place, kind, **CHANGED[kind]))
    tokenizer = tokenizer_of(folder)
    file = tmp_path / "prompt.txt"
    file.write_text("<|im_start|>{query}\n\n{document}<|im_end|>\n")
    rows = [tokenizer(f"<|im_start|>{query}\n\n{document}<|im_end|>")["input_ids"] for query, document in PAIRS[:-1]]
    answers = tokenizer.convert_tokens_to_ids(["yes", "no"])
    expected = decoders.scores(folder, rows, answers)
    found = ours(folder, PAIRS[:-1], backend="torch", template=str(file))
    assert found == pytest.approx(expected, abs=TOLERANCE)
    assert models.resolve(str(folder), LoadPolicy(template=str(file))).scale == "log-odds"
    if not CHANGED[kind]:
        return
    unscaled = made.folder(f"plain-{kind}", lambda place: plain(folder, place, CHANGED[kind]))
    other = ours(unscaled, PAIRS[:-1], backend="torch", template=str(file))
    assert min(abs(a - b) for a, b in zip(found, other, strict=True)) > 0.1


def test_a_default_that_the_configuration_leaves_out_counts(made, tmp_path: Path) -> None:
    made.folder("tiny-default", lambda place: decoders.causal(place, "Cohere", logit_scale=0.0625))
    folder = made.copied("tiny-default", tmp_path / "silent")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({n: v for n, v in config.items() if n != "logit_scale"}))
    file = tmp_path / "prompt.txt"
    file.write_text("{query} {document}")
    settings = {"backend": "torch", "template": str(file)}
    assert ours(folder, PAIRS[:3], **settings) == ours(made.folder("tiny-default"), PAIRS[:3], **settings)


def test_a_type_that_changes_its_logits_in_an_unknown_way_is_refused(made, tmp_path: Path, monkeypatch) -> None:
    folder = made.folder("tiny-Granite", lambda place: decoders.causal(place, "Granite", **CHANGED["Granite"]))
    monkeypatch.setattr("rerank_cli.models.heads.LOGIT_FACTORS", {})
    monkeypatch.setattr("rerank_cli.scorers.torch_networks.COMPARED", set())
    file = tmp_path / "prompt.txt"
    file.write_text("{query} {document}")
    with pytest.raises(ModelError, match="changes its logits in a way that is not supported"):
        ours(folder, PAIRS[:1], backend="torch", template=str(file))


def plain(source: Path, place: Path, members: dict[str, float]) -> Path:
    """The same weights without the change of the logits."""
    shutil.copytree(source, place)
    neutral = {"logits_scaling": 1.0, "logit_scale": 1.0, "final_logit_softcapping": None}
    edit(place / "config.json", **{name: value for name, value in neutral.items() if name in members})
    return place


def test_every_row_of_the_table_is_complete() -> None:
    for row in table().values():
        assert row.source, row.name
        assert bool(row.refused) is (row.name not in scoring_names())
        assert row.pattern
        if not row.refused:
            assert row.scale, row.name
            assert (row.no is None) is (row.scale != "log-odds"), row.name


def test_a_bare_logit_is_never_shown_as_a_probability(run, made) -> None:
    folder = made.folder("zerank-1-small", FAMILIES["zerank-1-small"][0])
    result = run("-q", QUERY, "-m", str(folder), "--backend", "torch", "--json", stdin="\n".join(DOCUMENTS[:4]))
    assert result.code == 0, result.err
    assert result.json["meta"]["score_scale"] == "logit of the yes token"
    expected = dict(zip(range(4), ours(folder, PAIRS[:4], backend="torch"), strict=True))
    for hit in result.json["results"]:
        assert hit["relevance_score"] == pytest.approx(expected[hit["index"]], abs=TOLERANCE)


def test_a_threshold_on_a_bare_logit_is_reported(run, made, tmp_path: Path) -> None:
    folder = made.folder("zerank-1-small", FAMILIES["zerank-1-small"][0])
    warning = "are not probabilities: logit of the yes token"
    model = ["-m", str(folder), "--backend", "torch", "--min-score", "0.5"]
    result = run("-q", QUERY, *model, "--json", stdin="\n".join(DOCUMENTS[:4]))
    assert result.err.count(warning) == 1
    assert any(warning in line for line in result.json["meta"]["warnings"])
    scores = ours(folder, PAIRS[:4], backend="torch")
    assert len(result.json["results"]) == sum(score >= 0.5 for score in scores)
    row = json.dumps({"query": QUERY, "documents": DOCUMENTS[:4]})
    batch = run("batch", *model, "-o", "-", stdin=f"{row}\n{row}\n")
    assert batch.code == 0
    assert batch.err.count(warning) == 1


def test_a_scorer_is_opened_with_the_template(made) -> None:
    settings = ModelSettings(model=str(made.folder("qwen3")), template="zerank", backend="torch")
    scorer = open_local(settings, Report())
    assert scorer.info.scale == "logit of the yes token"
    scorer.close()
