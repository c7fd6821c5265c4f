"""Which backend, file, device and precision run a model on this machine, and why: a pure function of three records.

Nothing is imported: packages and devices are recognised by their files. The rules are in docs/models.md.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rerank_cli import cpu
from rerank_cli.errors import ModelError, UsageError
from rerank_cli.models import BUILTIN

if TYPE_CHECKING:
    from rerank_cli.models import LocalModel
    from rerank_cli.settings import ModelSettings

PACKAGES = {"torch": "torch", "openvino": "openvino", "onnx": "onnxruntime"}
DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


@dataclass(frozen=True, slots=True)
class Machine:
    """Properties of this machine that decide."""

    openvino: bool = False
    torch: bool = False
    cuda: bool = False
    features: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """What runs a model; `graph` is None for torch, which reads the model's folder."""

    backend: str
    form: str  # of the graph: fp32, int8, per-token, weight-only, ir; `weights` for torch
    dtype: str
    device: str
    reason: str
    graph: Path | None = None


def this_machine() -> Machine:
    """Look at this machine; about a millisecond."""
    return Machine(
        openvino=installed("openvino") is not None,
        torch=installed("torch") is not None and installed("transformers") is not None,
        cuda=has_cuda(),
        features=cpu.features(),
    )


@cache
def installed(package: str) -> str | None:
    """The version of an installed package, read off its metadata folder without importing it; None if absent.

    importlib.metadata would cost as much as all the rest of the built-in's start.
    """
    from importlib.util import find_spec

    spec = find_spec(package)
    if spec is None or not spec.origin:
        return None
    pattern = re.compile(rf"{package}[a-z_]*-([^-]+)\.dist-info", re.IGNORECASE)
    for name in sorted(os.listdir(Path(spec.origin).parent.parent)):  # noqa: PTH208 names only, and fast
        if match := pattern.fullmatch(name):
            return match[1]
    return "unknown"


def has_cuda(root: Path = Path("/")) -> bool:
    """Whether torch would find a GPU: a device file, not hidden, and a torch built for it. Torch is not imported."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in {"", "-1"} or not installed("torch"):
        return False
    devices = root / "dev"
    if not (any(devices.glob("nvidia[0-9]*")) or (devices / "kfd").exists() or (devices / "dxg").exists()):
        return False
    from importlib.util import find_spec

    spec = find_spec("torch")
    version = Path(str(spec.origin if spec else "")).with_name("version.py")
    text = version.read_text() if version.is_file() else ""
    return re.search(r"^(cuda|hip)\b[^=]*= *['\"]", text, re.MULTILINE) is not None


def choose(model: LocalModel, settings: ModelSettings, machine: Machine | None = None) -> EngineChoice:
    """The choice for a model. Raises ModelError or UsageError for a combination that is not possible, with a hint."""
    if not DEVICE.fullmatch(settings.device):
        raise UsageError(f"--device: unknown value `{settings.device}`", "give auto, cpu, cuda, cuda:N or mps")
    if model.name == BUILTIN:
        return _builtin(model, settings)
    machine = machine or this_machine()
    backend, reason = _backend(model, settings, machine)
    require(backend, machine)
    if backend == "torch":
        return _torch(model, settings, machine, reason)
    return _graph(model, settings, backend, reason)


def _builtin(model: LocalModel, settings: ModelSettings) -> EngineChoice:
    """The embedded graphs: per-token 8-bit on ONNX Runtime, weight-only for OpenVINO and --dtype fp32."""
    if settings.device not in {"auto", "cpu"}:
        hint = "leave `--device` out, or choose another model with `-m`"
        raise ModelError("the built-in model runs on the CPU", hint)
    if settings.backend == "torch":
        raise ModelError("the built-in model has no torch weights", "use `--backend onnx` (the default) or openvino")
    if settings.backend == "openvino":
        require("openvino", this_machine())
        dtype = _cpu_dtype(settings)
        return EngineChoice("openvino", "weight-only", dtype, "cpu", "--backend openvino", model.graphs["weight-only"])
    if settings.dtype not in {"auto", "int8", "fp32"}:
        raise ModelError(f"the built-in model has no form in {settings.dtype}", "leave `--dtype` out")
    if settings.dtype == "fp32":
        why = "--dtype fp32: 8-bit weights, products in float32"
        return EngineChoice("onnx", "weight-only", "int8-weights", "cpu", why, model.graphs["weight-only"])
    # Its weights are limited so that no pair of u8 × s8 products can saturate: exact with and without VNNI.
    return EngineChoice("onnx", "per-token", "int8", "cpu", "embedded 8-bit graph", model.graphs["per-token"])


def _backend(model: LocalModel, settings: ModelSettings, machine: Machine) -> tuple[str, str]:
    """The backend by name, and the reason."""
    if settings.backend != "auto":
        return settings.backend, f"--backend {settings.backend}"
    if settings.device.startswith(("cuda", "mps")):
        return "torch", f"--device {settings.device}"
    whose = "of a converted copy" if model.converted else "in the model's folder"
    if settings.dtype == "int8" and "int8" in model.graphs:
        return "onnx", f"--dtype int8, 8-bit graph {whose}"
    if machine.cuda and settings.device == "auto" and machine.torch and model.weights:
        return "torch", "a GPU is there"
    if machine.openvino and ("ir" in model.graphs or "fp32" in model.graphs):
        return "openvino", f"{'OpenVINO' if 'ir' in model.graphs else 'ONNX'} graph {whose}, and OpenVINO is installed"
    if "fp32" in model.graphs:
        return "onnx", f"ONNX graph {whose}; OpenVINO is not installed"
    if "int8" in model.graphs:
        return "onnx", f"8-bit ONNX graph {whose}, the only one"
    if "ir" in model.graphs and not model.weights:
        return "openvino", f"OpenVINO graph {whose}, the only form of the model"
    return "torch", "the model has no ONNX or OpenVINO graph"


def require(backend: str, machine: Machine) -> None:
    """Raise ModelError with the install command if a backend's packages are missing."""
    there = {"torch": machine.torch, "openvino": machine.openvino, "onnx": True}[backend]
    if not there:
        wanted = "torch and transformers" if backend == "torch" else PACKAGES[backend]
        hint = f"install it: pip install 'rerank-cli[{backend}]', or choose another with `--backend`"
        raise ModelError(f"the {backend} backend needs {wanted}, not installed here", hint)


def choose_form(model: LocalModel, form: str) -> EngineChoice:
    """The backend that belongs to one form of a model."""
    backend = "openvino" if form == "ir" else "onnx"
    return EngineChoice(
        backend, form, "int8" if form == "int8" else "fp32", "cpu", f"the {form} form", model.graphs[form]
    )


def _torch(model: LocalModel, settings: ModelSettings, machine: Machine, reason: str) -> EngineChoice:
    if not model.weights:
        hint = "use `--backend onnx` if it has a graph, or a revision with model.safetensors"
        raise ModelError(f"{model.folder} has no usable weights for torch", hint)
    device = settings.device
    if device == "auto":
        device = "cuda" if machine.cuda else "cpu"
    if settings.dtype == "int8":
        raise ModelError("the torch backend has no 8-bit form", "convert it: `rerank models convert --form int8`")
    if device == "cpu":
        return EngineChoice("torch", "weights", _cpu_dtype(settings), device, reason)
    return EngineChoice("torch", "weights", "bf16" if settings.dtype == "auto" else settings.dtype, device, reason)


def _graph(model: LocalModel, settings: ModelSettings, backend: str, reason: str) -> EngineChoice:
    if settings.device not in {"auto", "cpu"}:
        raise ModelError(f"the {backend} backend runs on the CPU here", "use `--backend torch` for a GPU")
    form = _form(model, settings, backend)
    if form is None:
        if settings.dtype == "int8" and settings.backend == "openvino":
            raise ModelError("the openvino backend has no 8-bit form", "use `--backend onnx`, or leave `--dtype` out")
        int8 = settings.dtype == "int8"
        wanted = "int8 graph" if int8 else f"graph for the {backend} backend"
        command, other = (" --form int8", "leave `--dtype` out") if int8 else ("", "use `--backend torch`")
        command += " --as embedding" if model.family == "embedding" else ""
        hint = f"make one: `rerank models convert {model.name}{command}`, or {other}"
        raise ModelError(f"{model.name} has no {wanted}", hint)
    if backend == "onnx" and settings.dtype in {"bf16", "fp16"}:
        hint = "use `--backend openvino` or `--backend torch`, or leave `--dtype` out"
        raise ModelError(f"ONNX Runtime runs a graph as it is, in {form}, not in {settings.dtype}", hint)
    dtype = _cpu_dtype(settings) if backend == "openvino" else form
    return EngineChoice(backend, form, dtype, "cpu", reason, model.graphs[form])


def _form(model: LocalModel, settings: ModelSettings, backend: str) -> str | None:
    """Which graph a backend takes."""
    if settings.dtype == "int8":
        order = ["int8"] if backend == "onnx" else []
    else:
        order = ["fp32", *(["int8"] if settings.dtype == "auto" else [])] if backend == "onnx" else ["ir", "fp32"]
    return next((form for form in order if form in model.graphs), None)


def _cpu_dtype(settings: ModelSettings) -> str:
    """Precision on a CPU: float32 unless another is asked for, so that scores do not depend on the machine."""
    if settings.dtype in {"auto", "fp32"}:
        return "fp32"
    if settings.dtype == "bf16":
        return "bf16"
    raise ModelError(f"no CPU backend computes this model in {settings.dtype}", "use `--dtype fp32` or bf16")
