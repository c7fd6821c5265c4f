"""The self-check: versions, CPU, threads, the backend of a model and why, and a canary that scores known pairs.

It returns a `Diagnosis`; printing and the exit code are the command's. Nothing here can change a score.
"""

from __future__ import annotations

import math
import os
import platform
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from rerank_cli import cpu
from rerank_cli.errors import RerankError
from rerank_cli.records import Pair
from rerank_cli.settings import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from rerank_cli.report import Report
    from rerank_cli.scorers.open_local import AnyLocalScorer
    from rerank_cli.settings import ModelSettings

PACKAGES = ("numpy", "tokenizers", "onnxruntime", "openvino", "torch", "transformers", "huggingface_hub", "onnx")
# (query, relevant, irrelevant): the order any reranker must get right.
ORDER = (
    ("What is the capital of France?", "Paris is the capital of France.", "Bananas are rich in potassium."),
    (
        "how do I boil an egg",
        "Put the egg into boiling water for seven minutes.",
        "The stock market fell by two percent.",
    ),
    ("who wrote Hamlet", "Hamlet is a tragedy written by William Shakespeare.", "A hammer drives nails into wood."),
    ("speed of light", "Light travels at 299,792 kilometres per second in vacuum.", "Cats sleep most of the day."),
    ("symptoms of influenza", "Influenza causes fever, cough and aching muscles.", "The violin has four strings."),
)
ODD = ("\u0000", "🧿", "a" * 3000, "[SEP] [CLS] <s> </s> <|im_end|>", "…" * 50, "\ufffd\ufffd", "0", "ﷺ", "\u202eabc")
TOLERANCE = {"fp32": 1e-5, "int8": 0.0, "int8-weights": 0.0}  # between batches, relative; others are half precision
HALF_TOLERANCE = 0.1
LIMITS = Limits(long_documents="truncate")


class Check(NamedTuple):
    """One check and its result."""

    name: str
    passed: bool
    detail: str


@dataclass
class Diagnosis:
    """Facts by section, and checks; `healthy` if every check passed."""

    info: dict[str, dict[str, Any]] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """Whether all checks passed."""
        return all(check.passed for check in self.checks)


def examine(settings: ModelSettings, report: Report) -> Diagnosis:
    """Look at the machine, open the model, score the canary. A model that cannot be opened is a failed check."""
    from rerank_cli.scorers.open_local import make_plan, open_local

    # Affinity and the quota of a container count.
    threads = {"cores": os.cpu_count() or 1, "used": cpu.threads_of(settings.threads)}
    diagnosis = Diagnosis({"versions": versions(), "cpu": processor(), "threads": threads})
    try:
        plan = make_plan(settings)
        facts = ("name", "revision", "family", "max_tokens", "window", "scale")
        chosen = ("backend", "device", "dtype", "reason")
        diagnosis.info["model"] = {name: getattr(plan.model, name) for name in facts}
        diagnosis.info["model"] |= {name: getattr(plan.choice, name) for name in chosen}
        scorer = open_local(settings, report)
    except RerankError as error:
        diagnosis.checks.append(Check("opens", False, error.message + (f" ({error.hint})" if error.hint else "")))
        return diagnosis
    diagnosis.checks.append(Check("opens", True, f"{plan.model.name} on {plan.choice.backend}"))
    diagnosis.info["engine"] = {"name": scorer.engine.name, **getattr(scorer.engine, "settings", {})}
    try:
        for check in (check_order, check_invariance, check_prompt, check_finite, check_engine):
            diagnosis.checks.append(_guarded(check, scorer))
    finally:
        scorer.close()
    return diagnosis


def _guarded(check: Callable[[AnyLocalScorer], Check], scorer: AnyLocalScorer) -> Check:
    """A check whose own error is a failed check."""
    try:
        return check(scorer)
    except RerankError as error:
        return Check(check.__name__.removeprefix("check_"), False, error.message)


def versions() -> dict[str, str | None]:
    """Versions of Python, this tool and the packages that matter; None if not installed. None is imported."""
    from rerank_cli.scorers.selection import installed
    from rerank_cli.version import __version__

    return {"rerank": __version__, "python": platform.python_version(), **{name: installed(name) for name in PACKAGES}}


def processor() -> dict[str, Any]:
    """The CPU, the instruction sets that matter, and whether a GPU is detected."""
    from rerank_cli.scorers.selection import has_cuda

    features = cpu.features()
    return {
        "machine": platform.machine(),
        "features": sorted(features),
        "vnni": cpu.int8_dot(),
        "bf16": bool(features & {"avx512_bf16", "amx_bf16", "bf16"}),
        "gpu": has_cuda(),
    }


def check_order(scorer: AnyLocalScorer) -> Check:
    """Every relevant text above its irrelevant one."""
    pairs = [Pair(query, text) for query, *texts in ORDER for text in texts]
    values = [score.value or 0.0 for score in scorer.score(pairs, LIMITS)]
    wrong = [ORDER[n][0] for n in range(len(ORDER)) if not values[2 * n] > values[2 * n + 1]]
    right = f"the relevant text scores higher in {len(ORDER) - len(wrong)} of {len(ORDER)} pairs"
    detail = f"{right}; wrong for: {'; '.join(wrong)}" if wrong else right
    return Check("order", not wrong, detail)


def check_invariance(scorer: AnyLocalScorer) -> Check:
    """A score does not depend on the other documents of a batch."""
    pairs = [Pair(query, text * length) for length in (1, 2, 3, 4) for query, *texts in ORDER for text in texts]
    together = [score.value or 0.0 for score in scorer.score(pairs, LIMITS)]
    alone = [scorer.score([pair], LIMITS)[0].value or 0.0 for pair in pairs]
    worst = max(abs(a - b) / max(1.0, abs(a)) for a, b in zip(alone, together, strict=True))
    allowed = TOLERANCE.get(scorer.info.dtype, HALF_TOLERANCE)
    detail = f"scores alone and in a batch differ by {worst:.2g} (allowed: {allowed:g})"
    return Check("invariance", worst <= allowed, detail)


def check_prompt(scorer: AnyLocalScorer) -> Check:
    """Query and document both reach the model, each in its own position; a template fits the tokenizer."""
    from rerank_cli.scorers.answers import prompt_problems

    prompt = getattr(scorer, "prompt", None)  # none where query and document are encoded apart
    if prompt and (problems := prompt_problems(scorer.model, scorer.encoder, prompt)):
        return Check("prompt", False, "; ".join(problems))
    query, text, other = ORDER[0]
    changed = {"the document": Pair(query, other), "the query": Pair(other, text)}
    if scorer.model.family != "embedding":  # a cosine is the same both ways
        changed["swapping"] = Pair(text, query)
    first, *values = [score.value or 0.0 for score in scorer.score([Pair(query, text), *changed.values()], LIMITS)]
    same = [name for name, value in zip(changed, values, strict=True) if value == first]
    detail = f"{' and '.join(same)} does not change the score" if same else "query and document both change the score"
    return Check("prompt", not same, detail)


def check_finite(scorer: AnyLocalScorer) -> Check:
    """No text gives NaN or infinity."""
    scores = scorer.score([Pair("odd characters", text) for text in ODD], LIMITS)
    bad = [repr(text[:10]) for text, score in zip(ODD, scores, strict=True)
           if score.value is not None and not math.isfinite(score.value)]  # fmt: skip
    detail = f"not finite for {', '.join(bad)}" if bad else f"{len(ODD)} unusual texts have finite scores"
    return Check("finite", not bad, detail)


def check_engine(scorer: AnyLocalScorer) -> Check:
    """OpenVINO uses the requested settings: with its defaults, scores would depend on the padding."""
    settings = getattr(scorer.engine, "settings", {})
    if not settings:
        return Check("engine", True, f"{scorer.engine.name} {getattr(scorer.engine, 'version', '')}")
    expected = {"fp32": "f32", "float32": "f32", "bf16": "bf16"}[scorer.info.dtype]
    shown = settings["INFERENCE_PRECISION_HINT"].lower().replace("float32", "f32").replace("bfloat16", "bf16")
    passed = expected in shown and settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] == "0"
    return Check("engine", passed, ", ".join(f"{name} {value}" for name, value in settings.items()))
