"""Repositories that are not rerankers this program can run: what they are, and what to use instead.

It looks at the names of files, at settings and at the names of weights. It loads nothing, and does not know the
families of the models that do run.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from rerank_cli.errors import ModelError
from rerank_cli.inside import check_inside, is_hub_name
from rerank_cli.models.files import LFS_POINTER, optional_json, safetensors_header
from rerank_cli.text import shortened

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

ADAPTER = "adapter_config.json"
WEIGHTS = re.compile(
    r"(.*/)?((model|pytorch_model)[^/]*\.(safetensors|bin)|[^/]*\.onnx|openvino_model\.xml)(\.index\.json)?"
)
EXPORTED = re.compile(r"(onnx/)?model\.onnx|(openvino/)?openvino_model\.xml")
OTHERS = {".h5": "TensorFlow", ".msgpack": "Flax", ".npz": "MLX", ".ot": "Rust"}  # fmt: skip
ADAPTER_HEAD = re.compile(r"\.(score|classifier|out_proj)\.weight$")
PEFT_CLASSES = {"CAUSAL_LM": "CausalLM", "SEQ_2_SEQ_LM": "Seq2SeqLM"}  # task_type -> class; else a classifier
# Types that transformers has classes for, and the name of the weights of their scoring head.
HEADS = dict.fromkeys(("albert", "bert", "camembert", "deberta", "deberta-v2", "distilbert", "electra", "modernbert",
                       "mpnet", "roberta", "xlm-roberta", "xlm-roberta-xl"), "classifier") | dict.fromkeys(
                      ("gemma", "gemma2", "llama", "mistral", "qwen2", "qwen3"), "score")  # fmt: skip


class OwnCode(NamedTuple):
    """A network that only its repository's code defines: how its classes are called, and what to do."""

    classes: re.Pattern[str]  # found in `architectures`, `model_type` or `auto_map`
    what: str
    hint: str
    exported: bool = False  # an ONNX export of it takes pairs and gives logits


OWN_CODE = (
    OwnCode(re.compile("JinaBert"),
            "is a JinaBERT: a network with code of its own, which comes from another repository and does not run on "
            "transformers 5",
            "a newer reranker that runs, on its ONNX file: `-m jinaai/jina-reranker-v2-base-multilingual`"),
    OwnCode(re.compile("XLMRobertaFlash"),
            "is an XLM-RoBERTa with code of its own (XLMRobertaFlash), which does not run on transformers 5, and whose "
            "weights do not fit transformers' own class",
            "a cross-encoder of this kind runs on its ONNX file, if it has onnx/model.onnx", exported=True),
    OwnCode(re.compile(r"^new$|\bNew(Model|Config|For\w+)$"),
            "is a GTE model of the type `new`: a network with code of its own, which comes from another repository and "
            "does not run on transformers 5",
            "use a repository with an ONNX export of it (onnx/model.onnx), or another multilingual reranker: "
            "`-m BAAI/bge-reranker-v2-m3`", exported=True),
    OwnCode(re.compile("JinaForRanking"),
            "is a listwise model: it reads all documents at once and has a projection with code of its own; no pair "
            "has a score by itself",
            "`-m jina:jina-reranker-v3` is Jina's endpoint"),
    OwnCode(re.compile("JinaVLForRanking"),
            "has a prompt and a scoring head that exist only in the repository's code",
            "`-m jina:jina-reranker-m0` is Jina's endpoint"),
    OwnCode(re.compile("(?i)LlamaBidirec|NemotronVL|llama_nemotron"),
            r"reads `question:QUERY \n \n passage:DOCUMENT` as one text, with attention in both directions and code of "
            "its own; the scores of plain pairs would be wrong",
            "start NVIDIA's NIM or vLLM with it, then `-m nim:nvidia/llama-nemotron-rerank-1b-v2` or `-m vllm:…`"),
)  # fmt: skip


def check_files(where: object, names: Iterable[str], adapter: Mapping[str, Any], base: str = "") -> None:
    """Raise ModelError if the files of a repository or folder are not those of a whole model.

    `adapter` is its adapter_config.json, `base` the model that its card says it was made from; both may be empty.
    """
    files = list(names)
    if any(WEIGHTS.fullmatch(name) for name in files):
        return
    if ADAPTER in files:
        raise adapter_error(where, adapter)
    instead = f"the repository that it was made from: `-m {base}`" if is_hub_name(base) else "one with safetensors"
    if gguf := sorted(name for name in files if name.endswith(".gguf")):
        hint = f"use {instead}; or start `llama-server -m {gguf[0]} --reranking`, then `-m llamacpp:NAME`"
        shown = shortened(", ".join(gguf), 80)
        raise ModelError(f"{where} holds only GGUF files ({shown}), which llama.cpp runs", hint)
    kinds = {kind for name in files for ending, kind in OTHERS.items() if name.endswith(ending)}
    if kinds:
        raise ModelError(f"{where} has weights only for {', '.join(sorted(kinds))}", f"use {instead}")


def no_weights(names: Iterable[str], *, pickled: bool) -> ModelError:
    """The error for a repository whose weights, if it has any, have names or a format that is not used."""
    files = list(names)
    what = "the repository has no usable weights: no model.safetensors, no model.onnx and no openvino_model.xml"
    if pickled:
        return ModelError(
            f"{what}, only pickled weights", "try another revision, or `--allow-pickle` if you trust its author"
        )
    if graphs := [name for name in files if name.endswith(".onnx")]:
        hint = "put one as model.onnx into a folder with config.json and tokenizer.json, then use `-m ./FOLDER`"
        return ModelError(f"{what}; its ONNX files are {shortened(', '.join(graphs), 80)}", hint)
    return ModelError(what, f"is it a model? it holds {shortened(', '.join(files), 80) or 'no files'}")


def check_repository(where: object, names: Iterable[str], settings: Mapping[str, Mapping[str, Any]], card: Any) -> bool:
    """`check_files` and `check_config` for a repository of the hub, before its weights are downloaded.

    `settings` holds config.json and adapter_config.json by name, `card` the metadata that the hub gives of its card.
    """
    files = list(names)
    base = getattr(card, "base_model", None)
    base = base[0] if isinstance(base, list) and base else base
    check_files(where, files, settings.get(ADAPTER, {}), str(base or ""))
    return check_config(where, settings.get("config.json", {}), exported=any(map(EXPORTED.fullmatch, files)))


def adapter_error(where: object, adapter: Mapping[str, Any]) -> ModelError:
    """The error for an adapter without the weights of its model: which model, and the command that merges the two."""
    named = str(adapter.get("base_model_name_or_path") or "")
    kind = shortened(str(adapter.get("peft_type") or "PEFT"), 20)
    base = named if is_hub_name(named) else "BASE"
    head = PEFT_CLASSES.get(str(adapter.get("task_type")), "SequenceClassification")
    count = adapter.get("num_labels")
    labels = f", num_labels={count if isinstance(count, int) else 1}" if head == "SequenceClassification" else ""
    load = f"peft.AutoPeftModelFor{head}.from_pretrained('{where}'{labels})"
    command = (
        f"python -c \"import peft, transformers; {load}.merge_and_unload().save_pretrained('merged'); "
        f"transformers.AutoTokenizer.from_pretrained('{base}').save_pretrained('merged')\""
    )
    message = f"{where} is a {kind} adapter of `{shortened(named, 80) or 'a model that it does not name'}`, not a model"
    return ModelError(message, f"merge the two with peft, then use `-m ./merged`: {command}")


def check_config(where: object, config: Mapping[str, Any], *, exported: bool) -> bool:
    """Whether torch can run the weights. Raises ModelError for a network that cannot be run at all.

    `exported` says that there is an ONNX or OpenVINO file, which needs neither code nor quantised weights.
    """
    exported = exported and is_classifier(config)
    names = [str(config.get("model_type")), *architectures(config)]
    auto_map = config.get("auto_map")
    for value in auto_map.values() if isinstance(auto_map, dict) else ():
        names += map(str, value) if isinstance(value, list) else [str(value)]
    for row in OWN_CODE:
        if any(row.classes.search(name) for name in names):
            if exported and row.exported:
                return False
            raise ModelError(f"{where} {row.what}", row.hint)
    if how := quantised(config):
        if exported:
            return False
        hint = "use the repository that it was made from; `rerank models convert NAME --form int8` makes that one small"
        raise ModelError(f"{where} holds weights that are quantised ({how}), which is not supported", hint)
    return True


def architectures(config: Mapping[str, Any]) -> list[str]:
    """The classes that config.json names."""
    names = config.get("architectures")
    return list(map(str, names)) if isinstance(names, list) else []


def is_classifier(config: Mapping[str, Any]) -> bool:
    """Whether published graphs of a model give scores; those of decoders and embedding models give something else."""
    return any("SequenceClassification" in name for name in architectures(config))


def quantised(config: Mapping[str, Any]) -> str:
    """How the weights are quantised: gptq, awq, fp8, bitsandbytes, MLX …; empty if they are not."""
    settings = config.get("quantization_config")
    if isinstance(settings, dict) and settings.get("quant_method"):
        return shortened(str(settings["quant_method"]), 40)
    mlx = isinstance(config.get("quantization"), dict) or isinstance(settings, dict)
    return "MLX" if mlx else ""


def is_built_in(config: Mapping[str, Any]) -> bool:
    """Whether transformers has a class for a repository, as far as this table goes."""
    return config.get("model_type") in HEADS


def check_head(where: object, config: Mapping[str, Any], weights: Iterable[Path]) -> None:
    """Raise ModelError if a classifier's weights hold no scoring head: torch would draw one at random."""
    head = HEADS.get(str(config.get("model_type")))
    files = [path for path in weights if path.suffix == ".safetensors"]
    if head is None or not files or not is_classifier(config):
        return
    own = re.compile(rf"(^|\.){head}\.")
    if not any(own.search(name) for path in files for name in safetensors_header(path)):
        message = f"{where} has no weights for its scoring head (`{head}`): they would be randomly initialised"
        raise ModelError(message, "is it a base model? a reranker's repository holds its scoring head")


def check_folder(folder: Path) -> None:
    """`check_files` and `check_config` for a folder on disk or a snapshot of the hub's cache."""
    paths = (*folder.glob("*"), *folder.glob("*/*"))  # no deeper: the folder may be anything
    names = [path.relative_to(folder).as_posix() for path in paths if path.is_file()]
    if not any(WEIGHTS.fullmatch(name) for name in names):
        adapter, card = (check_inside(folder / name, folder) for name in (ADAPTER, "README.md"))
        check_files(folder, names, {"num_labels": labels_of(folder), **optional_json(adapter)}, base_of(card))
    tokenizer = check_inside(folder / "tokenizer.json", folder)
    if tokenizer.is_file() and begins(tokenizer) == LFS_POINTER:
        raise ModelError(f"{tokenizer} is a pointer of Git LFS, not the file", "fetch it: `git lfs pull`")
    config = optional_json(check_inside(folder / "config.json", folder))
    check_config(folder, config, exported=any(map(EXPORTED.fullmatch, names)))


def labels_of(folder: Path) -> int:
    """Logits of the head that an adapter's own weights hold; 1, as rerankers have it, if they hold none."""
    path = check_inside(folder / "adapter_model.safetensors", folder)
    header = safetensors_header(path) if path.is_file() else {}
    heads = (tensor["shape"] for name, tensor in header.items() if ADAPTER_HEAD.search(name))
    return next((int(shape[0]) for shape in heads if len(shape) == 2), 0) or 1


def base_of(card: Path) -> str:
    """The `base_model` in the front matter of a model card; empty without one."""
    text = card.read_text("utf-8", "replace")[:4000] if card.is_file() else ""
    found = re.search(r"^base_model:\s*(?:-\s*)?[\"']?([\w./-]+)", text, re.MULTILINE)
    return found[1] if found else ""


def begins(path: Path) -> bytes:
    """The first bytes of a file, as many as tell a pointer of Git LFS."""
    with path.open("rb") as file:
        return file.read(len(LFS_POINTER))
