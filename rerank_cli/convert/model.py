"""A model to a converted copy: export, smaller forms, and a comparison with the original before anything is written.

A copy holds graphs, tokenizer and facts and needs neither torch nor a template engine. It is written under a temporary
name and renamed when every form has passed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rerank_cli import lookup
from rerank_cli.convert.pairs import check_pairs
from rerank_cli.convert.workspace import OLD, new_folder, remove_left, sync_files
from rerank_cli.errors import ModelError
from rerank_cli.files import cannot_write
from rerank_cli.models import chat as chats
from rerank_cli.models.converted import MANIFEST, folder_of, manifest_of, models_folder, read_converted, read_manifest
from rerank_cli.models.files import fingerprint
from rerank_cli.models.folder import text_part
from rerank_cli.models.loaded import facts_of, graph_files
from rerank_cli.models.sentencepiece import tokenizer_text
from rerank_cli.owned import changed, foreign, record, remove
from rerank_cli.settings import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from rerank_cli.models import LocalModel
    from rerank_cli.scorers.open_local import AnyLocalScorer

FILES = {"fp32": "model.onnx", "int8": "model_int8.onnx", "ir": "openvino_model.xml"}
NAMES = ("tokenizer.json", "openvino_model.bin", *FILES.values(), *(f"{FILES[form]}.data" for form in ("fp32", "int8")))
TOLERANCE = 1e-4  # |Δ logit| relative to max(1, |logit|), of forms that compute in float32
INT8_MEAN = 0.1  # mean |Δ logit| of the 8-bit form, in standard deviations of the logits
INT8_ORDER = 0.98  # Spearman's rank correlation that the 8-bit form must keep
LIMITS = Limits(long_documents="truncate")


@dataclass(frozen=True, slots=True)
class Comparison:
    """A form against the original on the check pairs."""

    form: str
    pairs: int
    largest: float  # |Δ logit|
    mean: float
    correlation: float  # Spearman's
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class Converted:
    """Where a copy is and how its forms compare."""

    folder: Path
    comparisons: tuple[Comparison, ...]


def convert(
    model: LocalModel,
    forms: Sequence[str],
    target: Path,
    threads: int,
    notify: Callable[[str], None] = lambda _step: None,
) -> Converted:
    """Convert a model with torch weights and keep the copy at `target` if every form agrees with the original.

    Forms are `fp32`, `int8` and `ir`, all made from the float32 export; the chat template is rendered in the copy. An
    older copy at `target` is replaced. `threads` are those of the comparison; `notify` is called with each step.

    Raises ModelError: no torch weights, a missing package, an export that fails, or a form that does not agree.
    """
    if not model.weights:
        raise ModelError(f"{model.name} has no torch weights to convert", "only torch checkpoints are converted")
    _need("onnx", "convert")
    target = target.resolve()
    _removable(target, model)
    if model.chat is not None:
        model = replace(model, chat=chats.plain(model.chat, model.folder))
    notify("scoring 200 pairs with the original")
    scorer = _open_original(model, threads)
    model = scorer.model
    expected = _scores(scorer)
    if target.parent == models_folder().resolve() / "converted":
        remove_left(target.parent, {MANIFEST, *NAMES})
    try:
        with new_folder(target) as folder:
            _export(scorer, folder, notify)
            _make_forms(forms, folder, notify)
            comparisons = _check_forms(model, forms, folder, partial(_compare, folder, expected, threads), notify)
            _replace(folder, target, model)
    except OSError as error:
        raise cannot_write(error, target) from None
    finally:
        scorer.close()
    return Converted(target, comparisons)


def _need(package: str, extra: str) -> None:
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise ModelError(f"converting needs the package `{package}`", f"install it: pip install 'rerank-cli[{extra}]'")


def _removable(target: Path, model: LocalModel) -> Collection[str]:
    """The names in the target that a new copy may replace: none, or those of a copy of which we wrote every file.

    In our own cache a file of ours that has changed is damaged and may be replaced; elsewhere it is the user's work.
    Raises ModelError for anything else.
    """
    if not lookup.exists(target) or (lookup.is_folder(target) and not any(target.iterdir())):
        return ()
    ours = target == folder_of(model).resolve()
    files = dict.fromkeys(NAMES, "") if ours and lookup.is_folder(target) else _recorded(target)
    if others := foreign(target, {MANIFEST, *files}):
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        message = f"{target} also holds {', '.join(others[:3])}{more}, which `models convert` did not write"
        raise ModelError(message, "give another folder with -o, or move them away")
    if not ours and (edited := changed(target, files)):
        message = f"{target / edited[0]} has changed since `models convert` wrote it"
        raise ModelError(message, "give another folder with -o, or move it away")
    return {MANIFEST, *files}


def _recorded(target: Path) -> dict[str, str]:
    """The files that the manifest of a copy records, with their digests. Raises ModelError if there are none."""
    try:
        manifest = read_manifest(target)
    except (ModelError, OSError):
        raise ModelError(f"{target} exists and is not a converted copy", "give another folder with -o") from None
    if "files" not in manifest:
        message = f"{target} was converted by an earlier version, which did not record the files that it wrote"
        raise ModelError(message, "give another folder with -o, or remove this one yourself")
    files: dict[str, str] = manifest["files"]
    return files


def _open_original(model: LocalModel, threads: int) -> AnyLocalScorer:
    """The torch scorer in float32 on the CPU."""
    from rerank_cli.scorers.open_local import build_scorer, scorer_info
    from rerank_cli.scorers.selection import EngineChoice, require, this_machine

    require("torch", this_machine())
    from rerank_cli.scorers.torch_engine import TorchEngine

    choice = EngineChoice("torch", "weights", "fp32", "cpu", "the original")
    opener = partial(TorchEngine, choice=choice, threads=threads, packed=False)
    return build_scorer(model, scorer_info(model, choice), opener)


def _scores(scorer: AnyLocalScorer) -> list[float]:
    """Logits of the check pairs; a pair without tokens counts as 0."""
    return [score.value or 0.0 for score in scorer.score(check_pairs(), LIMITS)]


def _export(scorer: AnyLocalScorer, folder: Path, notify: Callable[[str], None]) -> None:
    from rerank_cli.convert.export_torch import export_network

    model = scorer.model
    network = getattr(scorer.engine, "network")  # noqa: B009 `Engine` does not declare it
    vocabulary = int(model.config.get("vocab_size") or text_part(model.config).get("vocab_size") or 1000)
    notify("exporting to ONNX")
    export_network(
        network, folder / FILES["fp32"], vocabulary=vocabulary, left_padded=model.left_padded, typed=model.token_types
    )
    if model.tokenizer.suffix == ".json":
        shutil.copyfile(model.tokenizer, folder / "tokenizer.json")
    else:
        (folder / "tokenizer.json").write_text(tokenizer_text(model.tokenizer), encoding="utf-8")


def _make_forms(forms: Sequence[str], folder: Path, notify: Callable[[str], None]) -> None:
    """Make each form from the float32 graph, which is removed if it was not asked for."""
    for form in forms:
        if form == "int8":
            notify("8-bit weights and products")
            import onnx

            from rerank_cli.convert.export_torch import save_graph
            from rerank_cli.convert.rewrite import Form, quantize_graph

            save_graph(quantize_graph(onnx.load(str(folder / FILES["fp32"])), Form.PER_TOKEN), folder / FILES["int8"])
        elif form == "ir":
            notify("converting to OpenVINO")
            _need("openvino", "openvino")
            from rerank_cli.scorers.openvino_engine import save_as_ir

            save_as_ir(folder / FILES["fp32"], folder / FILES["ir"])
    if "fp32" not in forms:
        for path in folder.glob(FILES["fp32"] + "*"):
            path.unlink()


def _check_forms(
    model: LocalModel,
    forms: Sequence[str],
    folder: Path,
    compare_form: Callable[[str], Comparison],
    notify: Callable[[str], None],
) -> tuple[Comparison, ...]:
    """Compare each form with the original; write the manifest before, so that forms can be opened, and after."""
    graphs = {form: FILES[form] for form in forms}
    digests = {form: _digest(model, folder, form) for form in forms}
    files = record(folder)
    _write_manifest(folder, manifest_of(model, graphs, digests, {}, files))
    comparisons = []
    for form in forms:
        notify(f"comparing {form} with the original")
        comparisons.append(compare_form(form))
    _write_manifest(folder, manifest_of(model, graphs, digests, {c.form: asdict(c) for c in comparisons}, files))
    return tuple(comparisons)


def _digest(model: LocalModel, folder: Path, form: str) -> str:
    """All that decides the scores of a form: graph, weights, tokenizer, prompt, limits."""
    files = [*graph_files(folder / FILES[form], folder), folder / "tokenizer.json"]
    return hashlib.sha256(f"{fingerprint(files)} {facts_of(model)}".encode("utf-8", "surrogatepass")).hexdigest()


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    import json

    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _compare(folder: Path, expected: list[float], threads: int, form: str) -> Comparison:
    """Score the check pairs with a form; raises ModelError if it does not agree with the original."""
    from rerank_cli.scorers.open_local import open_form

    scorer = open_form(read_converted(folder, str(folder)), form, threads)
    try:
        actual = _scores(scorer)
    finally:
        scorer.close()
    size = sum(path.stat().st_size for path in folder.glob(Path(FILES[form]).stem + ".*"))
    result = compare(form, expected, actual, size)
    if not agrees(result, expected, actual):
        raise ModelError(
            f"the {form} form does not agree with the original: on {result.pairs} pairs the logits differ by up to "
            f"{result.largest:.3g}, {result.mean:.3g} on average, rank correlation {result.correlation:.4f}",
            "nothing was written; use another form, or `--backend torch`",
        )
    return result


def compare(form: str, expected: list[float], actual: list[float], size: int) -> Comparison:
    """Differences and rank correlation of two lists of logits."""
    import numpy as np

    delta = np.abs(np.array(expected) - np.array(actual))
    ranks = [np.argsort(np.argsort(values, kind="stable"), kind="stable") for values in (expected, actual)]
    correlation = float(np.corrcoef(ranks[0], ranks[1])[0, 1])
    return Comparison(form, len(expected), float(delta.max()), float(delta.mean()), correlation, size)


def agrees(result: Comparison, expected: list[float], actual: list[float]) -> bool:
    """Whether a form may replace its original: the same numbers in float32, the same order in eight bits."""
    import numpy as np

    if result.form != "int8":
        allowed = TOLERANCE * np.maximum(1.0, np.abs(expected))
        return bool((np.abs(np.array(expected) - np.array(actual)) <= allowed).all())
    return result.mean <= INT8_MEAN * float(np.std(expected)) and result.correlation >= INT8_ORDER


def _replace(folder: Path, target: Path, model: LocalModel) -> None:
    """Move the finished folder to its target, with the permissions of a new folder.

    What is at the target is checked again, moved aside, and then removed file by file: if something has been put there
    meanwhile, it stays.
    """
    os.umask(umask := os.umask(0))
    folder.chmod(0o777 & ~umask)
    sync_files(folder)
    names = _removable(target, model)
    if not target.exists():
        folder.rename(target)
        return
    before = folder.with_name(OLD)
    target.rename(before)
    folder.rename(target)
    if not remove(before, names):
        raise ModelError(f"{before} holds files that `models convert` did not write; they were left there")
