"""Everything a run needs, as frozen values: what the command line, environment and config files came to.

Commands build these from their options; the core reads nothing else. The defaults here are those of the Python API and
the server; the options declare their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

InputFormat = Literal["auto", "jsonl", "json", "yaml", "lines", "csv", "tsv", "files"]
OutputFormat = Literal["auto", "table", "json", "jsonl", "lines", "ids", "csv", "tsv", "trec", "markdown"]
FieldFormat = Literal["yaml", "text"]
LongDocuments = Literal["chunk", "truncate", "error"]
Fusion = Literal["rrf", "weighted"]
Backend = Literal["auto", "onnx", "openvino", "torch"]
Dtype = Literal["auto", "fp32", "bf16", "fp16", "int8"]

INPUT_FORMATS: tuple[str, ...] = ("auto", "jsonl", "json", "yaml", "lines", "csv", "tsv", "files")
# The format that the name of an output tells.
EXTENSIONS = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".md": "markdown",
    ".trec": "trec",
}
OUTPUT_FORMATS: tuple[str, ...] = (
    "auto", "table", "json", "jsonl", "lines", "ids", "csv", "tsv", "trec", "markdown",
)  # fmt: skip
DEFAULT_ID_FIELDS = ("id", "_id", "docid")
DEFAULT_TEXT_FIELD = "text"
DEFAULT_CACHE_BYTES = 1 << 30
DEFAULT_MAX_TOKENS = 4096
NAMED_KEYS = ("provider", "url", "model", "api_key_env")  # of a named endpoint


@dataclass(frozen=True, slots=True)
class Limits:
    """How long documents are treated, whatever the model; all counts in tokens of the model's own tokenizer."""

    max_tokens_per_doc: int = DEFAULT_MAX_TOKENS
    long_documents: LongDocuments = "chunk"
    max_chunks_per_doc: int | None = None


@dataclass(frozen=True, slots=True)
class FieldSettings:
    """Which parts of a structured document are scored, and how they are rendered."""

    rank_fields: tuple[str, ...] = ()  # empty: use text_field
    field_format: FieldFormat = "yaml"
    text_field: str = DEFAULT_TEXT_FIELD
    id_fields: tuple[str, ...] = DEFAULT_ID_FIELDS
    prior_field: str | None = None
    explicit_text_field: bool = False  # --text-field was given: the field must be there even for strings' sake


@dataclass(frozen=True, slots=True)
class InputSettings:
    """Which documents are read and how."""

    files: tuple[str, ...] = ()  # `-` is stdin; empty: stdin
    input_format: InputFormat = "auto"
    null: bool = False  # records end with NUL instead of a newline
    fields: FieldSettings = field(default_factory=FieldSettings)
    settled: frozenset[str] = frozenset()  # what options say, so that requests may differ in it


@dataclass(frozen=True, slots=True)
class RankSettings:
    """How scores become an order."""

    top_n: int | None = None
    min_score: float | None = None
    dedupe: bool = False
    keep_order: bool = False
    raw_scores: bool = False
    fusion: Fusion | None = None
    weight: float = 0.5
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class OutputSettings:
    """How a ranking is written."""

    format: OutputFormat = "auto"
    output: Path | None = None
    null: bool = False
    documents: bool = True
    as_requested: bool = False  # batch: a request that wants no documents back gets none
    result_key: str | None = None
    explain: bool = False
    query_id: str = "1"
    run_tag: str = "rerank"


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Which scorer, and the trusted settings that reach it. Keys are read late and never stored here."""

    model: str = "builtin"
    backend: Backend = "auto"
    device: str = "auto"
    dtype: Dtype = "auto"
    threads: int | None = None
    instruction: str | None = None
    offline: bool = False
    trust_remote_code: bool = False
    allow_pickle: bool = False
    require_revision: bool = False
    spinning: bool = True  # threads wait actively between batches: faster, but a server that idles must not
    remote: RemoteSettings = field(default_factory=lambda: RemoteSettings())  # noqa: PLW0108 the class comes below


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """How a remote endpoint is called. `endpoints` are the named ones of trusted config files."""

    endpoint: str | None = None
    api_key_env: str | None = None
    api_key_file: Path | None = None
    auth_header: str | None = None
    client_name: str | None = None
    headers: tuple[str, ...] = ()  # `Name: value` or `Name: @env:VARIABLE`
    extra: str | None = None  # JSON object merged into the request body
    batch_docs: int | None = None
    concurrency: int = 4
    timeout_s: float = 60.0
    retries: int = 5
    max_wait_s: float = 60.0
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_units: int | None = None
    allow_split: bool = False
    native_rank_fields: bool = False
    rank_fields: tuple[str, ...] = ()  # with YAML rendering only; a row that chooses fields itself gets objects
    ca_bundle: Path | None = None
    insecure: bool = False
    endpoints: dict[str, dict[str, object]] = field(default_factory=dict)
    prices: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Where scores are remembered. `path` None: RERANK_CACHE_DIR, else the user's cache folder."""

    path: Path | None = None
    mode: Literal["rw", "ro"] = "rw"
    max_bytes: int = DEFAULT_CACHE_BYTES
