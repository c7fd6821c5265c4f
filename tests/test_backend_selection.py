"""Which backend, device and precision a local model gets, and the reason that is reported."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import COMMIT, DOCUMENTS, QUERY, into_hub_cache, made, ours, own_caches  # noqa: F401 fixtures

from rerank_cli import models
from rerank_cli.errors import ModelError, UsageError
from rerank_cli.report import Report
from rerank_cli.scorers import selection
from rerank_cli.scorers.open_local import open_local
from rerank_cli.scorers.selection import Machine, choose
from rerank_cli.settings import ModelSettings

PAIRS = [(QUERY, document) for document in DOCUMENTS[:3]]


# Which backend, and why


def facts(**more) -> models.LocalModel:
    folder = Path("model")
    return models.LocalModel("acme/x", folder, folder / "tokenizer.json", **{"graphs": {}, "max_tokens": 9} | more)


WEIGHTS = {"weights": (Path("model.safetensors"),)}
ONNX = {"graphs": {"fp32": Path("model.onnx")}}
EVERYTHING = Machine(openvino=True, torch=True, cuda=True)


@pytest.mark.parametrize(
    ("model", "machine", "settings", "backend", "device", "why"),
    [
        (facts(**WEIGHTS, **ONNX), EVERYTHING, {}, "torch", "cuda", "a GPU"),
        (facts(**WEIGHTS, **ONNX), EVERYTHING, {"device": "cpu"}, "openvino", "cpu", "OpenVINO is installed"),
        (facts(**ONNX), EVERYTHING, {}, "openvino", "cpu", "OpenVINO is installed"),
        (facts(**WEIGHTS, **ONNX), Machine(torch=True), {}, "onnx", "cpu", "OpenVINO is not installed"),
        (facts(**WEIGHTS), Machine(openvino=True, torch=True), {}, "torch", "cpu", "no ONNX or OpenVINO graph"),
        (facts(graphs={"ir": Path("m.xml")}), Machine(openvino=True), {}, "openvino", "cpu", "OpenVINO graph"),
        (facts(**WEIGHTS, **ONNX), EVERYTHING, {"backend": "onnx"}, "onnx", "cpu", "--backend onnx"),
        (
            facts(**WEIGHTS, graphs={"int8": Path("q.onnx"), **ONNX["graphs"]}),
            EVERYTHING,
            {"dtype": "int8"},
            "onnx",
            "cpu",
            "int8",
        ),
        (facts(**WEIGHTS), EVERYTHING, {"device": "cuda:1"}, "torch", "cuda:1", "--device cuda:1"),
    ],
)
def test_the_backend_and_its_reason(model, machine, settings: dict, backend: str, device: str, why: str) -> None:
    choice = choose(model, ModelSettings(model="acme/x", **settings), machine)
    assert (choice.backend, choice.device) == (backend, device)
    assert why in choice.reason
    assert choice.dtype == ("int8" if settings.get("dtype") == "int8" else "bf16" if "cuda" in device else "fp32")


@pytest.mark.parametrize(
    ("model", "machine", "settings", "what", "hint"),
    [
        (facts(**WEIGHTS), Machine(), {}, "needs torch and transformers", "pip install 'rerank-cli[torch]'"),
        (facts(**ONNX), Machine(), {"backend": "openvino"}, "needs openvino", "pip install 'rerank-cli[openvino]'"),
        (facts(**WEIGHTS), EVERYTHING, {"backend": "onnx"}, "no graph for the onnx backend", "models convert acme/x"),
        (facts(**ONNX), EVERYTHING, {"dtype": "int8"}, "no", "rerank models convert"),
        (facts(**ONNX), EVERYTHING, {"backend": "torch"}, "no usable weights for torch", "--backend onnx"),
        (facts(**ONNX), EVERYTHING, {"backend": "onnx", "dtype": "bf16"}, "not in bf16", "--backend openvino"),
        (facts(**ONNX), EVERYTHING, {"backend": "onnx", "device": "cuda"}, "runs on the CPU", "--backend torch"),
        (facts(**WEIGHTS), EVERYTHING, {"device": "gpu"}, "--device: unknown value `gpu`", "cuda"),
        (facts(**WEIGHTS), Machine(torch=True), {"dtype": "fp16"}, "in fp16", "--dtype fp32"),
    ],
)
def test_impossible_combinations_are_refused_with_a_hint(model, machine, settings: dict, what: str, hint: str) -> None:
    with pytest.raises((ModelError, UsageError), match=what) as caught:
        choose(model, ModelSettings(model="acme/x", **settings), machine)
    assert hint in (caught.value.hint or "")


def test_a_gpu_is_detected_by_its_device_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    assert not selection.has_cuda(tmp_path)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidia0").touch()
    assert selection.has_cuda(tmp_path) == (torch.version.cuda is not None)  # with a torch that is built for GPUs
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not selection.has_cuda(tmp_path)


def test_versions_are_read_without_importing() -> None:
    from importlib.metadata import version

    for package in ("numpy", "onnxruntime", "openvino", "torch", "transformers", "huggingface_hub"):
        assert selection.installed(package) == version(package)
    assert selection.installed("no_such_package") is None


def test_the_builtin_is_opened_without_hub_torch_or_transformers() -> None:
    import subprocess
    import sys

    code = (
        "import sys\n"
        "from rerank_cli.scorers.open_local import identify, open_local\n"
        "from rerank_cli.settings import ModelSettings\n"
        "from rerank_cli.report import Report\n"
        "facts = identify(ModelSettings())\n"
        "heavy = {'numpy', 'onnxruntime', 'openvino', 'torch', 'transformers', 'tokenizers', 'huggingface_hub', 'jinja2'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "scorer = open_local(ModelSettings(), Report())\n"
        "assert scorer.info == facts\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "['numpy', 'onnxruntime', 'tokenizers']"


def test_the_builtin_runs_on_openvino_too() -> None:
    onnx = ours("builtin", PAIRS)
    openvino = ours("builtin", PAIRS, backend="openvino")
    assert max(abs(a - b) for a, b in zip(onnx, openvino, strict=True)) < 1
    for settings, what in ({"backend": "torch"}, "no torch weights"), ({"device": "cuda"}, "on the CPU"):
        with pytest.raises(ModelError, match=what):
            open_local(ModelSettings(**settings), Report())
