"""Late-interaction models by name, embedding models with --as embedding only: commands, refusals, cache and digests."""

# ruff: noqa: F811
from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny_encoders as encoders
from safetensors.torch import load_file, save_file
from tiny_models import COMMIT, DOCUMENTS, QUERY, edit, into_hub_cache, made, own_caches  # noqa: F401 fixtures

from rerank_cli import hub, models
from rerank_cli.api import Reranker
from rerank_cli.errors import RerankError
from rerank_cli.report import Report
from rerank_cli.scorers.encoded_texts import QueryInputs, TextInputs
from rerank_cli.scorers.encoding import Encoder
from rerank_cli.scorers.open_local import identify
from rerank_cli.settings import ModelSettings

STDIN = "\n".join(DOCUMENTS[:4])


@pytest.fixture
def colbert(made) -> Path:
    return made.folder("colbert", encoders.colbert)


@pytest.fixture
def embedding(made) -> Path:
    return made.folder("embedding", encoders.embedding)


def scores(result: Any) -> list[float]:
    assert result.code == 0, result.err
    rows = sorted(result.json["results"], key=lambda row: row["index"])
    return [row["relevance_score"] for row in rows]


def test_a_late_interaction_model_ranks_and_names_its_scale(run, colbert: Path) -> None:
    result = run("-q", QUERY, "-m", str(colbert), "--json", stdin=STDIN)
    (expected,) = encoders.oracle(colbert, [QUERY], DOCUMENTS[:4], late=True)
    assert scores(result) == pytest.approx(expected, abs=1e-4)
    assert result.json["meta"]["score_scale"] == "maxsim"


def test_an_embedding_model_is_refused_and_the_hint_works(run, embedding: Path) -> None:
    refused = run("-q", QUERY, "-m", str(embedding), stdin=STDIN)
    assert refused.code == 4
    assert "is an embedding model" in refused.err
    assert "`--as embedding`" in refused.err
    result = run("-q", QUERY, "-m", str(embedding), "--as", "embedding", "--json", stdin=STDIN)
    (expected,) = encoders.oracle(embedding, [QUERY], DOCUMENTS[:4], late=False)
    assert scores(result) == pytest.approx(expected, abs=1e-4)
    assert result.json["meta"]["score_scale"] == "cosine"


def test_several_queries_batch_and_python_score_the_same(run, tmp_path: Path, embedding: Path, colbert: Path) -> None:
    rows = [{"query": query, "documents": DOCUMENTS[:4]} for query in (QUERY, "yes")]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for folder, more in ((colbert, []), (embedding, ["--as", "embedding"])):
        options = ["-m", str(folder), *more]
        each = [scores(run("-q", row["query"], *options, "--json", stdin=STDIN)) for row in rows]
        done = run("batch", str(tmp_path / "rows.jsonl"), *options)
        assert done.code == 0, done.err
        for record, expected in zip(done.records, each, strict=True):
            found = sorted(record["results"], key=lambda row: row["index"])
            assert [row["relevance_score"] for row in found] == pytest.approx(expected, abs=1e-5)
        joined = run("-q", QUERY, "-q", "yes", *options, "--join", "mean", "--json", stdin=STDIN)
        means = [sum(column) / 2 for column in zip(*each, strict=True)]
        assert scores(joined) == pytest.approx(means, abs=1e-5)
    with Reranker(str(embedding), load_as="embedding") as reranker:
        ranking = reranker.rank(QUERY, DOCUMENTS[:4])
    assert {hit.index: hit.relevance_score for hit in ranking.hits}[0] == pytest.approx(each[0][0], abs=1e-5)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("builtin", "`builtin` is a reranker"),
        ("cohere:rerank-v3.5", "--as is for local models"),
        ("colbert", "is a late-interaction model, not an embedding model"),
        ("bert", "is not an embedding model: its architecture is BertForSequenceClassification"),
        ("ettin", "is a reranker, not an embedding model"),
    ],
)
def test_as_embedding_is_refused_for_anything_else(run, made, model: str, message: str, monkeypatch) -> None:
    monkeypatch.setenv("CO_API_KEY", "k")
    local = ":" not in model and model != "builtin"
    build = encoders.LATE.get(model)
    name = str(made.folder(model, build)) if local else model
    result = run("-q", QUERY, "-m", name, "--as", "embedding", stdin=STDIN, env={"CO_API_KEY": "k"})
    assert result.code in {2, 4}
    assert message in result.err
    assert "leave `--as` out" in result.err


def test_the_fallback_is_not_read_as_an_embedding_model(run, tmp_path: Path) -> None:
    result = run("-q", "a", "-m", str(tmp_path / "none"), "--as", "embedding", "--fallback", "builtin", stdin="a\nb\n")
    assert result.code == 0, result.err


def test_the_cache_knows_a_pair_again_and_never_mixes_models(run, tmp_path: Path, made, embedding: Path) -> None:
    own = Path(shutil.copytree(embedding, tmp_path / "own"))
    plain = ["-q", QUERY, "-m", str(own), "--as", "embedding", "--json"]
    argv = [*plain, "--cache", "--cache-path", str(tmp_path / "c")]
    first = scores(run(*argv, stdin=STDIN))
    again = run(*argv, "-v", stdin=STDIN)
    assert scores(again) == first
    edit(own / "config_sentence_transformers.json", prompts={})
    other = scores(run(*argv, stdin=STDIN))
    assert other != pytest.approx(first, abs=1e-3)
    assert other == pytest.approx(scores(run(*plain, stdin=STDIN)), abs=1e-6)
    instructed = scores(run(*argv, "--instruction", "find: ", stdin=STDIN))
    assert instructed != pytest.approx(other, abs=1e-3)


def test_the_digest_covers_settings_and_weights_of_every_module(tmp_path: Path, made) -> None:
    for name, file in (("colbert", "artifact.metadata"), ("pylate", "config_sentence_transformers.json")):
        folder = Path(shutil.copytree(made.folder(name, encoders.LATE[name]), tmp_path / name))
        before = identify(ModelSettings(model=str(folder))).digest
        edit(folder / file, **{"doc_maxlen" if name == "colbert" else "document_length": 30})
        assert identify(ModelSettings(model=str(folder))).digest != before
    before = identify(ModelSettings(model=str(folder))).digest
    path = folder / "1_Dense" / "model.safetensors"
    save_file({name: -value for name, value in load_file(path).items()}, path)
    assert identify(ModelSettings(model=str(folder))).digest != before


def test_a_converted_embedding_model_still_has_to_be_asked_for(run, tmp_path: Path, embedding: Path) -> None:
    env = {"RERANK_CACHE_DIR": str(tmp_path / "cache")}
    own = Path(shutil.copytree(embedding, tmp_path / "own"))
    missing = run("-q", QUERY, "-m", str(own), "--as", "embedding", "--backend", "onnx", stdin=STDIN, env=env)
    assert missing.code == 4
    assert f"`rerank models convert {own} --as embedding`" in missing.err
    copy = tmp_path / "copy"
    done = run("models", "convert", str(own), "--as", "embedding", "-o", str(copy), env=env)
    assert done.code == 0, done.err
    refused = run("-q", QUERY, "-m", str(copy), stdin=STDIN)
    assert refused.code == 4
    assert "is a copy of an embedding model" in refused.err
    found = run("-q", QUERY, "-m", str(copy), "--as", "embedding", "--json", stdin=STDIN)
    assert found.json["meta"]["backend"] in {"onnx", "openvino"}
    assert scores(found) == pytest.approx(
        scores(run("-q", QUERY, "-m", str(own), "--as", "embedding", "--json", stdin=STDIN)), abs=1e-4
    )
    manifest = json.loads((copy / "rerank.json").read_text())
    (copy / "rerank.json").write_text(json.dumps(manifest | {"encodings": {"query": {}}}))
    broken = run("-q", QUERY, "-m", str(copy), "--as", "embedding", stdin=STDIN)
    assert broken.code == 4
    assert "has broken `encodings`" in broken.err


@pytest.mark.parametrize(("name", "more"), [("colbert", []), ("embedding", ["--as", "embedding"])])
def test_doctor_and_models_show_know_them(run, made, name: str, more: list[str]) -> None:
    folder = str(made.folder(name, encoders.LATE.get(name) or encoders.EMBEDDING[name]))
    found = run("doctor", "-m", folder, *more, "--json").json
    failed = {check["name"] for check in found["checks"] if not check["passed"]}
    assert failed <= {"order"}  # its weights are random
    assert found["model"]["scale"] == ("maxsim" if name == "colbert" else "cosine")
    shown = run("models", "show", folder, *more, "--json").json
    assert shown["family"] == ("late-interaction" if name == "colbert" else "embedding")
    query = {"max_tokens": 24, "marker": "[unused0]", "filler": "[MASK]", "fill_to": 24}
    assert shown["encodings"]["query"] == (query if name == "colbert" else {"max_tokens": 64, "prompt": "query: "})


def test_a_late_interaction_model_of_the_hub_is_listed_and_its_files_are_fetched(
    run, made, tmp_path: Path, colbert: Path, embedding: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "hf"
    for name, value in (("HF_HOME", str(home)), ("HF_HUB_OFFLINE", "1"), ("RERANK_CACHE_DIR", str(tmp_path / "cache"))):
        monkeypatch.setenv(name, value)
    into_hub_cache(colbert, home, "acme/colbert")
    into_hub_cache(embedding, home, "acme/embedding")
    env = {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    rows = {row["name"]: row for row in run("models", "list", "--json", env=env).json}
    assert set(rows) == {"builtin", "acme/colbert"}
    assert (rows["acme/colbert"]["family"], rows["acme/colbert"]["revision"]) == ("late-interaction", COMMIT)
    files = ["config.json", "tokenizer.json", "artifact.metadata", "model.safetensors", "vocab.txt", "onnx/model.onnx"]
    assert hub.choose(files, hub.FileFilter(), classifier=False) == sorted(files[:4])


@pytest.mark.parametrize(
    ("name", "file", "values", "message"),
    [
        ("pylate", "config_sentence_transformers.json", {"query_prefix": "[QQ] "}, "needs the marker `[QQ] `"),
        ("pylate", "config_sentence_transformers.json", {"query_length": "x"}, '`query_length` is "x"'),
        ("pylate", "config_sentence_transformers.json", {"skiplist_words": [1]}, "not lists of texts"),
        ("pylate", "config_sentence_transformers.json", {"query_length": 2}, "leaves no room"),
        ("pylate", "tokenizer_config.json", {"padding_side": "left"}, "fills up queries on the left"),
        ("multi-vector", "2_MultiVectorMask/config.json", {"keep_only_token_ids": [3]}, "`keep_only_token_ids`"),
        ("multi-vector", "config_sentence_transformers.json", {"similarity_fn_name": "xtr"}, "`xtr`, which is not"),
        ("embedding", "config_sentence_transformers.json", {"similarity_fn_name": "euclidean"}, "by `euclidean`"),
        ("embedding", "1_Pooling/config.json", {"include_prompt": False}, "leaves its prompt out of the pooling"),
        ("colbert", "artifact.metadata", {"doc_maxlen": []}, "`doc_maxlen` is []"),
        ("colbert", "artifact.metadata", {"query_token_id": "[unused7]"}, "needs the marker `[unused7]`"),
    ],
)
def test_settings_that_are_broken_or_not_supported_are_refused(
    run, made, tmp_path: Path, name: str, file: str, values: dict[str, Any], message: str
) -> None:
    source = made.folder(name, encoders.LATE.get(name) or encoders.EMBEDDING[name])
    folder = Path(shutil.copytree(source, tmp_path / "own"))
    edit(folder / file, **values)
    more = [] if name in encoders.LATE else ["--as", "embedding"]
    result = run("-q", QUERY, "-m", str(folder), *more, stdin=STDIN)
    assert result.code == 4, result.err
    assert message in result.err


def test_a_projection_that_is_missing_is_refused(run, tmp_path: Path, colbert: Path) -> None:
    folder = Path(shutil.copytree(colbert, tmp_path / "own"))
    weights = load_file(folder / "model.safetensors")
    del weights["linear.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    result = run("-q", QUERY, "-m", str(folder), stdin=STDIN)
    assert result.code == 4
    assert "has no weights `linear.weight`" in result.err


SETTINGS = {
    "colbert": {"artifact.metadata": ["query_token_id", "doc_token_id", "query_maxlen", "doc_maxlen", "dim",
                                      "mask_punctuation", "attend_to_mask_tokens"],
                "tokenizer_config.json": ["mask_token", "tokenizer_class", "padding_side", "eos_token"],
                "config.json": ["architectures", "hidden_size"]},
    "pylate": {"config_sentence_transformers.json": ["query_prefix", "document_prefix", "query_length", "prompts",
                                                     "document_length", "skiplist_words", "do_query_expansion",
                                                     "attend_to_expansion_tokens", "similarity_fn_name", "model_type"],
               "1_Dense/config.json": ["in_features", "out_features", "bias", "use_residual", "activation_function"]},
    "multi-vector": {"sentence_bert_config.json": ["query_length", "document_length", "query_expansion"],
                     "2_MultiVectorMask/config.json": ["skiplist_words", "skiplist_tasks", "keep_only_token_ids"],
                     "config_sentence_transformers.json": ["prompts", "similarity_fn_name"]},
    "embedding": {"config_sentence_transformers.json": ["prompts", "similarity_fn_name"],
                  "config.json": ["architectures"], "1_Pooling/config.json": ["pooling_mode", "include_prompt"]},
}  # fmt: skip
ODD: list[Any] = [None, True, -1, 0, 7, 1 << 40, "", "x", [], [[]], [{}], [7], {}, {"query": 7}, {"length": []},
                  {"length": 7, "token": 7}, {"document": {}, "strategy": "x"}]  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
def test_odd_settings_are_used_or_refused_and_never_a_traceback(made, tmp_path: Path, name: str) -> None:
    source = made.folder(name, encoders.LATE.get(name) or encoders.EMBEDDING[name])
    folder = Path(shutil.copytree(source, tmp_path / "own"))
    policy = models.LoadPolicy(load_as="auto" if name in encoders.LATE else "embedding")
    outcomes = set()
    for file, members in SETTINGS[name].items():
        text = (folder / file).read_text()
        for member in members:
            for value in ODD:
                edit(folder / file, **{member: value})
                try:
                    model = models.resolve(str(folder), policy)
                    encoder = Encoder(model.tokenizer)
                    if model.encodings:
                        QueryInputs(encoder, model.encodings.query, model, Report()).query(QUERY)
                        TextInputs(encoder, model.encodings.document, model).row([])
                    outcomes.add("used")
                except RerankError:
                    outcomes.add("refused")
                (folder / file).write_text(text)
    assert outcomes == {"used", "refused"}


def test_pickled_weights_of_colbert_are_read_only_if_they_are_allowed(run, tmp_path: Path, colbert: Path) -> None:
    import torch

    folder = Path(shutil.copytree(colbert, tmp_path / "own"))
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    refused = run("-q", QUERY, "-m", str(folder), stdin=STDIN)
    assert refused.code == 4
    assert "only pickled weights" in refused.err
    found = scores(run("-q", QUERY, "-m", str(folder), "--allow-pickle", "--json", stdin=STDIN))
    assert found == pytest.approx(scores(run("-q", QUERY, "-m", str(colbert), "--json", stdin=STDIN)), abs=1e-5)
