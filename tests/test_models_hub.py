# ruff: noqa: F811
"""Downloads with the real hub client from a local server that answers like the hub; published models score right."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from repositories import folder_of
from tiny_models import COMMIT, DOCUMENTS, QUERY, made, ours, own_caches  # noqa: F401 fixtures

from rerank_cli import hub, models
from rerank_cli.errors import ModelError
from rerank_cli.models.reference import LoadPolicy

TOKEN = "hf_secret_token"


class Hub(ThreadingHTTPServer):
    """Serves folders as repositories; `asked` lists the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.repositories: dict[str, Path] = {}
        self.gated: set[str] = set()
        self.cut: dict[str, int] = {}  # file -> bytes after which the first answer breaks off
        self.asked: list[str] = []
        self.card: dict[str, object] = {}  # what the hub says of every model card


class Answer(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].lstrip("/")
        self.server.asked.append(f"{self.command} {path}")
        parts = path.split("/")
        if parts[:2] == ["api", "models"]:
            self.about("/".join(parts[2:4]), parts[5] if len(parts) > 5 else "main")
        elif len(parts) > 4 and parts[2] == "resolve":
            self.file("/".join(parts[:2]), "/".join(parts[4:]))
        else:
            self.fail(404, "EntryNotFound")

    def refused(self, repository: str) -> bool:
        if repository not in self.server.repositories:
            self.fail(404, "RepoNotFound")
            return True
        if repository in self.server.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.fail(403, "GatedRepo")
            return True
        return False

    def about(self, repository: str, revision: str) -> None:
        if self.refused(repository):
            return
        if revision not in {"main", COMMIT, "v1"}:
            self.fail(404, "RevisionNotFound")
            return
        folder = self.server.repositories[repository]
        files = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file()]
        siblings = [{"rfilename": name} for name in files]
        self.send(
            json.dumps({"id": repository, "sha": COMMIT, "siblings": siblings, "cardData": self.server.card}).encode(),
            "application/json",
        )

    def file(self, repository: str, name: str) -> None:
        if self.refused(repository):
            return
        data = (self.server.repositories[repository] / name).read_bytes()
        whole = len(data)
        start = 0
        told = self.headers.get("Range", "")
        if told.startswith("bytes="):
            start = int(told[6:].split("-")[0])
            data = data[start:]
        tag = hashlib.sha256((self.server.repositories[repository] / name).read_bytes()).hexdigest()
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{tag}"')
        self.send_header("Content-Length", str(len(data)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        self.end_headers()
        if self.command == "GET":
            cut = self.server.cut.pop(name, None)
            self.wfile.write(data[:cut])
            if cut is not None:
                self.close_connection = True
                self.wfile.flush()
                self.connection.close()

    def send(self, data: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def fail(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub_server = Hub()
    threading.Thread(target=hub_server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{hub_server.server_port}")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    yield hub_server
    hub_server.shutdown()
    hub_server.server_close()


def test_a_repository_is_fetched_once_and_then_used_without_the_network(made, server: Hub, tmp_path: Path) -> None:
    folder = made.copied("bert", tmp_path / "source")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "tf_model.h5").write_bytes(b"other weights")
    server.repositories["acme/tiny"] = folder
    pairs = [(QUERY, document) for document in DOCUMENTS[:3]]
    assert ours("acme/tiny", pairs, backend="torch") == ours(made.folder("bert"), pairs, backend="torch")
    fetched = {path.name for path in (tmp_path / "hf").rglob("snapshots/*/*")}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= fetched
    assert not fetched & {"pytorch_model.bin", "tf_model.h5"}
    server.asked.clear()
    assert models.resolve("acme/tiny").revision == COMMIT
    assert models.resolve("acme/tiny", LoadPolicy(offline=True)).revision == COMMIT
    assert server.asked == []


def test_refusals_of_the_hub_are_reported_with_a_hint(made, server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    server.repositories["acme/gated"] = server.repositories["acme/tiny"] = made.folder("bert")
    server.gated.add("acme/gated")
    for reference, what, hint in (
        ("acme/none", "no model `acme/none` on the hub", "HF_TOKEN"),
        ("acme/tiny@v9", "`acme/tiny` has no revision `v9`", "full commit"),
        ("acme/gated", "`acme/gated` is gated", "https://huggingface.co/acme/gated"),
    ):
        with pytest.raises(ModelError, match=what) as caught:
            models.resolve(reference)
        assert hint in (caught.value.hint or "")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert models.resolve("acme/gated").revision == COMMIT
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match="cannot download `acme/other`") as caught:
        models.resolve("acme/other")
    assert TOKEN not in str(caught.value)


def test_pull_prints_the_folder_and_resumes_an_interrupted_download(run, made, server: Hub, tmp_path: Path) -> None:
    server.repositories["acme/tiny"] = made.folder("bert")
    server.cut["model.safetensors"] = 50_000
    first = run("models", "pull", "acme/tiny@v1", "--json")
    second = first if first.code == 0 else run("models", "pull", "acme/tiny@v1", "--json")
    assert second.code == 0, second.err
    assert second.json["revision"] == COMMIT
    assert (Path(second.json["folder"]) / "model.safetensors").is_file()
    assert models.resolve("acme/tiny@v1", LoadPolicy(offline=True)).revision == COMMIT
    verified = run("models", "verify", "acme/tiny@v1", "--json")
    assert (verified.code, verified.json["problems"]) == (0, [])


def test_pull_repairs_what_verify_reports(
    run, made, server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made.copied("bert", tmp_path / "source")
    server.repositories["acme/tiny"] = folder
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    assert run("models", "pull", "acme/tiny", "--backend", "torch").code == 0
    for name in ("model.safetensors", "config.json"):
        (blob,) = (path.resolve() for path in (tmp_path / "hf").rglob(f"snapshots/*/{name}"))
        blob.write_bytes(blob.read_bytes()[:-1] + b"!")
    assert run("models", "verify", "acme/tiny").code == 4
    server.asked.clear()
    assert run("models", "pull", "acme/tiny", "--backend", "torch").code == 0
    fetched = {request.rpartition("/")[2] for request in server.asked if request.startswith("GET acme")}
    assert fetched == {"model.safetensors", "config.json"}
    assert run("models", "verify", "acme/tiny").code == 0
    (snapshot,) = (path.parent for path in (tmp_path / "hf").rglob("snapshots/*/model.safetensors"))
    assert (snapshot / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_pull_refuses_models_that_cannot_be_downloaded(run, made) -> None:
    assert run("models", "pull", "acme/tiny", "--offline").code == 2
    assert "is not a Hugging Face name" in run("models", "pull", "./folder").err
    assert "`MODEL` is missing" in run("models", "pull").err


FILES = ["README.md", "config.json", "tokenizer.json", "vocab.txt", "model.safetensors", "onnx/model.onnx",
         "onnx/model_O3.onnx", "openvino/openvino_model.xml", "openvino/openvino_model.bin", "pytorch_model.bin",
         "modeling.py"]  # fmt: skip


@pytest.mark.parametrize(
    ("want", "chosen"),
    [
        (hub.FileFilter(), {"onnx/model.onnx"}),
        (hub.FileFilter("torch"), {"model.safetensors"}),
        (hub.FileFilter("gpu"), {"model.safetensors"}),
        (hub.FileFilter("onnx"), {"onnx/model.onnx"}),
        (hub.FileFilter("openvino"), {"openvino/openvino_model.xml", "openvino/openvino_model.bin"}),
        (hub.FileFilter(code=True), {"onnx/model.onnx", "modeling.py"}),
        (hub.FileFilter("torch", allow_pickle=True), {"model.safetensors"}),
    ],
)
def test_only_the_files_needed_are_chosen(want: hub.FileFilter, chosen: set[str]) -> None:
    assert set(hub.choose(FILES, want)) == {"README.md", "config.json", "tokenizer.json"} | chosen


def test_repositories_without_usable_weights() -> None:
    for files, what in (["config.json"], "no usable weights"), (["config.json", "pytorch_model.bin"], "only pickled"):
        with pytest.raises(ModelError, match=what):
            hub.choose(files, hub.FileFilter())
    with pytest.raises(ModelError, match=r"its ONNX files are onnx/model_int8\.onnx") as caught:
        hub.choose(["config.json", "onnx/model_int8.onnx"], hub.FileFilter())
    assert "as model.onnx into a folder" in caught.value.hint
    with pytest.raises(ModelError, match="no usable weights") as caught:
        hub.choose(["data.csv"], hub.FileFilter())
    assert caught.value.hint == "is it a model? it holds data.csv"
    assert "pytorch_model.bin" in hub.choose(["pytorch_model.bin"], hub.FileFilter(allow_pickle=True))
    modules = ["modules.json", "config.json", "model.safetensors", "2_Dense/model.safetensors", "2_Dense/config.json",
               "onnx/model.onnx"]  # fmt: skip
    assert set(hub.choose(modules, hub.FileFilter(), classifier=False)) == set(modules) - {"onnx/model.onnx"}


def test_the_graph_of_a_decoder_is_not_chosen(made, server: Hub, tmp_path: Path) -> None:
    folder = made.copied("qwen3", tmp_path / "source")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(b"a graph with a cache of keys and values")
    server.repositories["acme/decoder"] = folder
    model = models.resolve("acme/decoder")
    assert (model.graphs, [path.name for path in model.weights]) == ({}, ["model.safetensors"])


REFUSED = {
    "an adapter": ({"adapter_config.json": {"base_model_name_or_path": "own/base", "peft_type": "LORA"}},
                   "adapter_model.safetensors", "is a LORA adapter of `own/base`"),
    "GGUF": ({}, "model-Q8_0.gguf", "holds only GGUF files"),
    "quantised weights": ({"config.json": {"quantization_config": {"quant_method": "awq"}}},
                          "model.safetensors", r"quantised \(awq\)"),
    "a listwise model": ({"config.json": {"architectures": ["JinaForRanking"]}}, "model.safetensors", "is a listwise"),
}  # fmt: skip


@pytest.mark.parametrize(("files", "weights", "what"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_run_is_refused_before_its_weights_are_fetched(
    server: Hub, tmp_path: Path, files: dict, weights: str, what: str
) -> None:
    server.card = {"base_model": ["own/base"]}
    server.repositories["acme/other"] = folder_of(tmp_path / "source", {**files, weights: "x", "README.md": "x"})
    with pytest.raises(ModelError, match=what) as caught:
        models.resolve("acme/other")
    assert caught.value.message.startswith("acme/other ")
    assert not [line for line in server.asked if weights in line]
    if weights.endswith(".gguf"):
        assert "`-m own/base`" in caught.value.hint


def test_a_gpu_gets_the_graph_of_a_network_with_code_of_its_own(server: Hub, tmp_path: Path) -> None:
    config = {"architectures": ["XLMRobertaForSequenceClassification"], "model_type": "xlm-roberta", "num_labels": 1,
              "auto_map": {"AutoConfig": "configuration_xlm_roberta.XLMRobertaFlashConfig"}}  # fmt: skip
    files = {"config.json": config, "tokenizer.json": {}, "onnx/model.onnx": "x", "model.safetensors": "x"}
    server.repositories["acme/flash"] = folder_of(tmp_path / "source", files)
    model = models.resolve("acme/flash", LoadPolicy(backend="gpu"))
    assert (list(model.graphs), model.weights) == (["fp32"], ())
    assert not [line for line in server.asked if "safetensors" in line]


def test_a_misspelt_known_reranker_is_suggested(server: Hub) -> None:
    with pytest.raises(ModelError, match="no model `BAAI/bge-rerank-v2-m3` on the hub") as caught:
        models.resolve("BAAI/bge-rerank-v2-m3")
    assert caught.value.hint == "did you mean `-m BAAI/bge-reranker-v2-m3`?"


PUBLISHED = json.loads((Path(__file__).parent / "models_published.json").read_text())


@pytest.mark.hub
@pytest.mark.parametrize("model", PUBLISHED, ids=lambda model: model["name"])
def test_a_published_model_scores_as_sentence_transformers(
    model: dict, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Eight published models, at commits that other public projects pin; none was tried when this was written."""
    import torch
    from sentence_transformers import CrossEncoder

    monkeypatch.delenv("HF_HUB_OFFLINE")
    pairs = [(QUERY, document) for document in DOCUMENTS]
    reference = f"{model['name']}@{model['revision']}"
    found = ours(reference, pairs, backend="torch")
    assert models.resolve(reference, LoadPolicy(offline=True, backend="torch")).revision == model["revision"]
    oracle = CrossEncoder(
        model["name"], revision=model.get("oracle_revision", model["revision"]), cache_folder=str(hub.cache_folder()),
        model_kwargs={"dtype": torch.float32},
    )  # fmt: skip
    logits = oracle.predict(pairs, activation_fn=torch.nn.Identity())
    assert max(abs(a - float(b)) for a, b in zip(found, logits, strict=True)) <= 1e-4
    assert found[0] > max(found[2], found[3])  # the answer above what has nothing to do with the question
