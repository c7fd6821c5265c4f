"""Settings of what scores: remote endpoints, the model, the score cache. `rerank_cli.settings` offers them too."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from rerank_cli.options import CACHE, MODEL, REMOTE, nested, option

Backend = Literal["auto", "onnx", "openvino", "torch"]
LoadAs = Literal["auto", "embedding"]
Dtype = Literal["auto", "fp32", "bf16", "fp16", "int8"]
CacheMode = Literal["rw", "ro"]

DEFAULT_CACHE_BYTES = 1 << 30
DAY = 86_400.0  # seconds
NAMED_KEYS = ("provider", "url", "model", "api_key_env")  # of a named endpoint

_model, _remote, _cache = (partial(option, group=group) for group in (MODEL, REMOTE, CACHE))
_count = partial(_remote, kind=int, metavar="N", minimum=1)


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """How a remote endpoint is called. Keys are read late and never stored here."""

    endpoint: str | None = _remote("--endpoint", "Endpoint base URL.", metavar="URL")
    api_key_env: str | None = _remote(
        "--api-key-env", "Variable with the key (default: the provider's own, such as CO_API_KEY).", metavar="NAME"
    )
    api_key_file: Path | None = _remote("--api-key-file", "File that holds the key.", metavar="FILE", kind=Path)
    auth_header: str | None = _remote("--auth-header", "Send the key in this header.", metavar="NAME")
    client_name: str | None = _remote("--client-name", "X-Client-Name.", metavar="NAME")
    headers: tuple[str, ...] = _remote(
        "--header", "Extra header; `X: @env:NAME` for secrets; repeatable.", metavar="'X: V'", many=True, name="header"
    )
    extra: str | None = _remote("--extra", "Members added to the request body.", metavar="JSON", json_text=True)
    batch_docs: int | None = _count("--batch-docs", "Documents per request.")
    concurrency: int = _count("--concurrency", "Requests at a time.", default=4, maximum=1024)
    timeout_s: float = _remote(
        "--timeout",
        "Seconds a request may take.",
        metavar="S",
        default=60.0,
        minimum=0.001,
        maximum=DAY,
        name="timeout",
    )
    retries: int = _remote("--retries", "Attempts after the first.", metavar="N", default=5, minimum=0, maximum=1000)
    max_wait_s: float = _remote(
        "--max-wait",
        "Longest wait that a provider may ask for.",
        metavar="S",
        default=60.0,
        minimum=0,
        maximum=DAY,
        name="max_wait",
    )
    requests_per_minute: int | None = _count("--requests-per-minute", "Client-side limit.")
    tokens_per_minute: int | None = _count("--tokens-per-minute", "Client-side limit.")
    max_units: int | None = _remote(
        "--max-units", "Refuse to bill more search units.", metavar="N", kind=int, minimum=0
    )
    max_cost: float | None = _remote(
        "--max-cost", "Refuse to spend more, by [prices] of the configuration.", metavar="X", kind=float, minimum=0
    )
    window_size: int = _remote(
        "--window-size",
        "Documents that a chat model orders at a time.",
        metavar="N",
        default=20,
        minimum=2,
        maximum=200,
    )
    window_step: int | None = _remote(
        "--window-step",
        "How far the window moves towards the first document (default: half of it).",
        metavar="N",
        kind=int,
        minimum=1,
        maximum=199,
    )
    passes: int = _remote(
        "--passes", "How often a chat model goes over all documents.", metavar="N", default=1, minimum=1, maximum=20
    )
    dry_run: bool = _remote(
        "--dry-run", "Print requests, tokens and units, send nothing.", default=False, configurable=False
    )
    allow_split: bool = _remote("--allow-split", "Split requests of listwise models.", default=False)
    native_rank_fields: bool = _remote("--native-rank-fields", "Let the provider choose the fields.", default=False)
    ca_bundle: Path | None = _remote("--ca-bundle", "Trust these certificates.", metavar="FILE", kind=Path)
    insecure: bool = _remote("--insecure", "Do not check certificates (warns on every run).", default=False)
    refuse_waits: bool = False  # a server refuses what would wait longer than max_wait_s for a rate; a run waits
    rank_fields: tuple[str, ...] = ()  # with YAML rendering only; a row that chooses fields itself gets objects
    endpoints: dict[str, dict[str, object]] = field(default_factory=dict)  # the named ones of trusted config files
    prices: dict[str, float] = field(default_factory=dict)  # per unit that is billed, of trusted config files


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Which scorer, and the trusted settings that reach it."""

    model: str = _model(
        "--model -m",
        "builtin, a Hugging Face name (owner/name[@revision]), a folder (./path), provider:model "
        "(cohere:rerank-v3.5) or a named endpoint.",
        metavar="MODEL",
        default="builtin",
        in_short_help=True,
    )
    fallback: tuple[str, ...] = _model(
        "--fallback",
        "If -m is unusable, this model scores all documents; repeatable. passthrough: their order, no scores.",
        metavar="MODEL",
        many=True,
        overrides=("fail_closed",),
    )
    fail_closed: bool = _model(
        "--fail-closed",
        "Fail if -m is unusable, whatever fallback is configured.",
        default=False,
        overrides=("fallback",),
    )
    backend: Backend = _model(
        "--backend", "auto, onnx, openvino or torch.", metavar="NAME", default="auto", choices=get_args(Backend)
    )
    device: str = _model("--device", "auto, cpu, cuda, cuda:N.", metavar="NAME", default="auto")
    dtype: Dtype = _model(
        "--dtype", "auto, fp32, bf16, fp16 or int8.", metavar="TYPE", default="auto", choices=get_args(Dtype)
    )
    # An engine starts no more than there are processors (`cpu.threads_of`).
    threads: int | None = _model(
        "--threads",
        "CPU threads (default: what this container may use).",
        metavar="N",
        kind=int,
        minimum=1,
        maximum=4096,
    )
    load_as: LoadAs = _model(
        "--as",
        "auto, or embedding: rank by the cosine of an embedding model's vectors (a baseline).",
        metavar="KIND",
        default="auto",
        choices=get_args(LoadAs),
        name="as",
    )
    instruction: str | None = _model("--instruction", "Task for rerankers that take one.", metavar="TEXT")
    template: str | None = _model(
        "--template", "Prompt of a decoder: a built-in template, or a file.", metavar="NAME|FILE"
    )
    offline: bool = _model("--offline", "Never use the network; name what is missing.", default=False)
    require_revision: bool = _model(
        "--require-revision", "Refuse a hub model without a pinned revision.", default=False
    )
    trust_remote_code: bool = _model(
        "--trust-remote-code", "Run code of a Hugging Face model with a pinned revision.", default=False
    )
    allow_pickle: bool = _model("--allow-pickle", "Load .bin weights, which can run code.", default=False)
    remote: RemoteSettings = nested(RemoteSettings)


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Where scores are remembered. `path` None: RERANK_CACHE_DIR, else the user's cache folder."""

    enabled: bool = _cache(
        "--cache/--no-cache", "Keep scores and look them up before scoring.", default=False, name="cache"
    )
    path: Path | None = _cache(
        "--cache-path", "The cache file (default: the user's).", metavar="FILE", kind=Path, name="cache_path"
    )
    mode: CacheMode = _cache(
        "--cache-mode",
        "rw, or ro: read only (CI).",
        metavar="MODE",
        default="rw",
        choices=get_args(CacheMode),
        name="cache_mode",
    )
    max_bytes: int = DEFAULT_CACHE_BYTES
