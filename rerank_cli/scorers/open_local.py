"""Opening a local model: its info without an engine (`identify`), or ready to score (`open_local`).

It combines `models` (what the model is), `selection` (what runs it here) and an engine; it scores nothing. For the
built-in nothing beyond numpy, tokenizers and onnxruntime is imported.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from rerank_cli import cpu, models
from rerank_cli.errors import ModelError
from rerank_cli.scorers import selection
from rerank_cli.scorers.base import ScorerInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from rerank_cli.models import LocalModel
    from rerank_cli.report import Report
    from rerank_cli.scorers.encoded import EncodedScorer
    from rerank_cli.scorers.encoding import Encoder
    from rerank_cli.scorers.local import Engine, LocalScorer
    from rerank_cli.scorers.selection import EngineChoice
    from rerank_cli.settings import ModelSettings

    AnyLocalScorer = LocalScorer | EncodedScorer

SCORING = 2  # increased when a change of this package changes the scores of a model
ARITHMETIC = {"avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "arm64", "i8mm"}


class Plan(NamedTuple):
    """All decisions of a run, before anything heavy is imported."""

    model: LocalModel
    choice: EngineChoice
    info: ScorerInfo


def identify(settings: ModelSettings) -> ScorerInfo:
    """The info of these settings' scorer without opening it; may download a hub repository.

    Raises ModelError or UsageError as `open_local` does, as far as that needs no running model.
    """
    return make_plan(settings).info


def open_local(settings: ModelSettings, report: Report) -> AnyLocalScorer:
    """The scorer of a local model on the chosen backend. Raises ModelError or UsageError with a hint."""
    return open_plan(make_plan(settings), settings, report)


def open_plan(plan: Plan, settings: ModelSettings, report: Report) -> AnyLocalScorer:
    """The scorer that was planned for these settings, ready to score. Raises ModelError or UsageError with a hint."""
    model, choice, info = plan
    for note in model.notes:
        report.note(note)
    threads = cpu.threads_of(settings.threads)
    if settings.threads and threads < settings.threads:
        report.note(f"--threads {settings.threads}: {threads} are used, one per processor of this machine")
    opener = partial(open_engine, choice=choice, threads=threads)
    return build_scorer(model, info, opener, settings.instruction, report)


def build_scorer(
    model: LocalModel,
    info: ScorerInfo,
    engine_of: Callable[[LocalModel, Encoder], Engine],
    instruction: str | None = None,
    report: Report | None = None,
) -> AnyLocalScorer:
    """A scorer from a model and the opener of its engine."""
    from rerank_cli.report import Report
    from rerank_cli.scorers.encoding import Encoder
    from rerank_cli.scorers.local import LocalScorer
    from rerank_cli.scorers.prompts import make_prompt

    encoder = Encoder(model.tokenizer, lower_case=model.lower_case, t5=model.family == "seq2seq")
    model = replace(model, pad_id=pad_id(model, encoder))
    if model.encodings is not None:
        from rerank_cli.scorers.encoded import open_encoded

        return open_encoded(model, encoder, engine_of(model, encoder), info, instruction, report or Report())
    prompt = make_prompt(model, encoder, instruction, report or Report())
    return LocalScorer(model, encoder, prompt, engine_of(model, encoder), info)


def make_plan(settings: ModelSettings) -> Plan:
    """Resolve the model, choose its engine, and describe the scorer; nothing heavy is imported."""
    if settings.model == models.BUILTIN and not settings.template and settings.load_as == "auto":
        model = models.builtin()
    else:
        from rerank_cli.scorers.remote.providers import provider_hint

        models.require_known(settings.model, settings.remote.endpoints, provider_hint)
        backend: str = settings.backend
        device = settings.device
        if backend == "auto" and (device.startswith(("cuda", "mps")) or (device == "auto" and selection.has_cuda())):
            backend = "gpu"  # torch weights are faster there than a graph
        model = models.resolve(settings.model, replace(models.LoadPolicy.of(settings), backend=backend))
    choice = selection.choose(model, settings)
    return Plan(model, choice, scorer_info(model, choice, partial(digest_of, model, choice, settings)))


def scorer_info(model: LocalModel, choice: EngineChoice, make_digest: Callable[[], str] = str) -> ScorerInfo:
    """The info of a local scorer; without `make_digest` its digest is empty."""
    return ScorerInfo(
        model=model.name,
        revision=model.revision,
        backend=choice.backend,
        dtype=choice.dtype,
        scale=model.scale,
        make_digest=make_digest,
        reason=choice.reason,
        english_only=model.english_only,
        tokenizer=model.tokenizer,
        lower_case=model.lower_case,
    )


def open_form(model: LocalModel, form: str, threads: int) -> AnyLocalScorer:
    """The scorer of one form of a converted copy, independent of this machine's choice."""
    choice = selection.choose_form(model, form)
    opener = partial(open_engine, choice=choice, threads=threads)
    return build_scorer(model, scorer_info(model, choice), opener)


def open_engine(model: LocalModel, encoder: Encoder, choice: EngineChoice, threads: int) -> Engine:
    """The engine of a choice; imports its packages."""
    if choice.backend == "torch":
        from rerank_cli.scorers.torch_engine import TorchEngine

        return TorchEngine(model, encoder, choice, threads)
    if choice.graph is None:
        raise ModelError(f"{model.name} has no graph for {choice.backend}")
    if model.name != models.BUILTIN:  # its own graphs lie in the package
        from rerank_cli.models.loaded import graph_files, home_of

        graph_files(choice.graph, home_of(model, choice.form, choice.graph))
    if choice.backend == "openvino":
        from rerank_cli.models.converted import models_folder
        from rerank_cli.scorers.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(choice.graph, threads, choice.dtype, models_folder() / "compiled")
    from rerank_cli.scorers.onnx import OnnxEngine

    optimized = model.name == models.BUILTIN and model.config["graphs"][choice.form]["optimized"]
    return OnnxEngine(choice.graph, threads, optimized=optimized)


def pad_id(model: LocalModel, encoder: Encoder) -> int:
    """The padding token: the config's, else the tokenizer's, else 0 (masked anyway)."""
    if model.pad_id >= 0:
        return model.pad_id
    from rerank_cli.models.files import optional_json

    token = optional_json(model.tokenizer.with_name("tokenizer_config.json")).get("pad_token")
    text = token.get("content") if isinstance(token, dict) else token
    return (encoder.token_id(text) if isinstance(text, str) else None) or 0


def digest_of(model: LocalModel, choice: EngineChoice, settings: ModelSettings) -> str:
    """A digest of all that can change a score: files, versions, precision, device, instruction sets, prompt."""
    package = selection.PACKAGES[choice.backend]
    parts = (
        str(SCORING),
        identity_of(model, choice),
        choice.backend,
        str(selection.installed(package)),
        str(selection.installed("transformers")) if choice.backend == "torch" else "",
        choice.form,
        choice.dtype,
        choice.device.partition(":")[0],
        ",".join(sorted(cpu.features() & ARITHMETIC)),
        repr(settings.instruction),
        *([repr(model.chat)] if model.chat else []),  # it may come from our table or the user, not from a file
        *([settings.load_as, repr(model.encodings)] if model.encodings else []),
    )
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def identity_of(model: LocalModel, choice: EngineChoice) -> str:
    """Which files: the contents of all that is loaded; for the embedded model its recorded digests."""
    if model.name == models.BUILTIN:
        return f"{model.name}@{model.revision}"
    from rerank_cli.models.loaded import digest_model

    return digest_model(model, choice.form, choice.graph)
