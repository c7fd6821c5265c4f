"""Everything a run needs, as frozen values. A field that is an option says so (rerank_cli.options).

The command line fills these records; the Python API and the server build them. The core reads nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from rerank_cli.options import CACHE, INPUT, LONG, MODEL, OUTPUT, RANKING, REMOTE, nested, option

InputFormat = Literal["auto", "jsonl", "json", "yaml", "lines", "csv", "tsv", "files"]
OutputFormat = Literal["auto", "table", "json", "jsonl", "lines", "ids", "csv", "tsv", "trec", "markdown"]
FieldFormat = Literal["yaml", "text"]
LongDocuments = Literal["chunk", "truncate", "error"]
Fusion = Literal["rrf", "weighted"]
Backend = Literal["auto", "onnx", "openvino", "torch"]
Dtype = Literal["auto", "fp32", "bf16", "fp16", "int8"]
CacheMode = Literal["rw", "ro"]

INPUT_FORMATS: tuple[str, ...] = get_args(InputFormat)
OUTPUT_FORMATS: tuple[str, ...] = get_args(OutputFormat)
# The format that the name of an output file means.
EXTENSIONS = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".md": "markdown",
    ".trec": "trec",
}
DEFAULT_ID_FIELDS = ("id", "_id", "docid")
DEFAULT_TEXT_FIELD = "text"
DEFAULT_CACHE_BYTES = 1 << 30
DEFAULT_MAX_TOKENS = 4096
NAMED_KEYS = ("provider", "url", "model", "api_key_env")  # of a named endpoint

_input, _ranking, _output, _long, _model, _remote, _cache = (
    partial(option, group=group) for group in (INPUT, RANKING, OUTPUT, LONG, MODEL, REMOTE, CACHE)
)
_count = partial(_remote, kind=int, metavar="N", minimum=1)


@dataclass(frozen=True, slots=True)
class Limits:
    """How long documents are treated, whatever the model; all counts in tokens of the model's own tokenizer."""

    max_tokens_per_doc: int = _long(
        "--max-tokens-per-doc",
        "Cut longer documents, before anything else.",
        metavar="N",
        default=DEFAULT_MAX_TOKENS,
        minimum=1,
    )
    long_documents: LongDocuments = _long(
        "--long-documents",
        "Beyond the model's window: chunk (best window counts), truncate or error.",
        metavar="HOW",
        default="chunk",
        choices=get_args(LongDocuments),
    )
    max_chunks_per_doc: int | None = _long(
        "--max-chunks-per-doc", "At most N windows per document.", metavar="N", kind=int, minimum=1
    )


@dataclass(frozen=True, slots=True)
class FieldSettings:
    """Which parts of a structured document are scored, and how they are rendered."""

    rank_fields: tuple[str, ...] = _input(
        "--rank-fields",
        "Score these fields of structured documents, in this order, e.g. title,body; `a.b` reaches nested keys.",
        metavar="A,B",
        unset=(),  # then text_field
        comma_separated=True,
        overrides=("text_field",),
        in_short_help=True,
    )
    field_format: FieldFormat = _input(
        "--field-format",
        "How rank fields are rendered: yaml (key: value) or text (values only).",
        metavar="FORMAT",
        default="yaml",
        choices=get_args(FieldFormat),
    )
    text_field: str = _input(
        "--text-field",
        "Score the bare value of this field (default: text; an error where it is missing).",
        metavar="NAME",
        unset=DEFAULT_TEXT_FIELD,
        overrides=("rank_fields",),
    )
    id_fields: tuple[str, ...] = _input(
        "--id-field",
        "The field with the id (default: id, _id or docid).",
        metavar="NAME",
        name="id_field",
        unset=DEFAULT_ID_FIELDS,
    )
    records: str | None = _input("--records", "Where JSON has its documents, e.g. `hits.hits[]`.", metavar="KEYS")
    prior_field: str | None = None  # RankSettings.prior_field
    explicit_text_field: bool = False  # --text-field was given: the field must be there even for strings' sake


@dataclass(frozen=True, slots=True)
class InputSettings:
    """Which documents are read and how."""

    files: tuple[str, ...] = _input(
        "", "Documents to rank; `-` is stdin. Without files, stdin is read.", metavar="[FILE]...", many=True
    )
    input_format: InputFormat = _input(
        "--input-format",
        "auto, jsonl, json, yaml, lines, csv, tsv, or files (each FILE is one document). auto goes by file name, "
        "then by content; scripts should say which.",
        metavar="FORMAT",
        default="auto",
        choices=INPUT_FORMATS,
    )
    fields: FieldSettings = nested(FieldSettings)
    null: bool = _input("--null -z", "Lines end with NUL, in and out, as with find -print0.", default=False)
    settled: frozenset[str] = frozenset()  # request members that options decide, so that requests may differ in them


@dataclass(frozen=True, slots=True)
class RankSettings:
    """How scores become an order."""

    top_n: int | None = _ranking(
        "--top-n -n", "Print the N best only.", metavar="N", kind=int, minimum=1, in_short_help=True
    )
    min_score: float | None = _ranking(
        "--min-score",
        "Drop documents below this relevance_score (the number shown).",
        metavar="X",
        kind=float,
        in_short_help=True,
    )
    dedupe: bool = _ranking("--dedupe", "Keep only the first document of each text.", default=False)
    keep_order: bool = _ranking("--keep-order", "Print in input order, with scores: for paste and awk.", default=False)
    prior_field: str | None = _ranking("--prior-field", "Fuse with the retriever's score here.", metavar="NAME")
    fusion: Fusion | None = _ranking(
        "--fusion",
        "rrf: 1/(60+rank) + W/(60+prior's rank); weighted: W * score + (1-W) * prior's percentile rank.",
        metavar="HOW",
        choices=get_args(Fusion),
    )
    weight: float = _ranking(
        "--weight", "W of --fusion (default: rrf 1, weighted 0.5).", metavar="W", kind=float, unset=0.5, minimum=0
    )
    raw_scores: bool = _ranking("--raw-scores", "Show logits instead of 0 to 1.", default=False)
    limits: Limits = nested(Limits)


@dataclass(frozen=True, slots=True)
class OutputSettings:
    """How a ranking is written."""

    format: OutputFormat = _output(
        "--format -f",
        "table, json, jsonl, lines (as they came, no scores), ids (else the index), csv, tsv, trec, markdown. "
        "auto: a table on a terminal, else lines as lines, rows as rows, anything else as jsonl; scripts should "
        "say which.",
        metavar="FORMAT",
        default="auto",
        choices=OUTPUT_FORMATS,
        overrides=("json",),
        in_short_help=True,
    )
    json: bool = _output(
        "--json", "Same as -f json.", default=False, configurable=False, overrides=("format",), in_short_help=True
    )
    output: Path | None = _output(
        "--output -o",
        "Write to a file, whole or not at all.",
        metavar="FILE",
        kind=Path,
        configurable=False,
        in_short_help=True,
    )
    null: bool = False  # InputSettings.null
    explain: bool = _output(
        "--explain", "Add what was scored: text, tokens, logit, windows.", default=False, in_short_help=True
    )
    documents: bool = _output(
        "--documents/--no-documents", "Leave documents out of json.", default=True, name="return_documents"
    )
    as_requested: bool = False  # batch: a request that wants no documents back gets none
    result_key: str | None = _output("--result-key", "Nest index, rank and relevance_score under NAME.", metavar="NAME")
    query_id: str = _output("--query-id", "Query id of trec output.", metavar="ID", default="1")
    run_tag: str = _output("--run-tag", "Run tag of trec output.", metavar="TAG", default="rerank")


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """How a remote endpoint is called. Keys are read late and never stored here."""

    endpoint: str | None = _remote("--endpoint", "Endpoint base URL.", metavar="URL")
    api_key_env: str | None = _remote(
        "--api-key-env", "Variable with the key (default: the provider's own, as CO_API_KEY).", metavar="NAME"
    )
    api_key_file: Path | None = _remote("--api-key-file", "File that holds the key.", metavar="FILE", kind=Path)
    auth_header: str | None = _remote("--auth-header", "Send the key in this header.", metavar="NAME")
    client_name: str | None = _remote("--client-name", "X-Client-Name.", metavar="NAME")
    headers: tuple[str, ...] = _remote(
        "--header", "Extra header; `X: @env:NAME` for secrets; repeatable.", metavar="'X: V'", many=True, name="header"
    )
    extra: str | None = _remote("--extra", "Members added to the request body.", metavar="JSON", json_text=True)
    batch_docs: int | None = _count("--batch-docs", "Documents per request.")
    concurrency: int = _count("--concurrency", "Requests at a time.", default=4)
    timeout_s: float = _remote(
        "--timeout", "Seconds a request may take.", metavar="S", default=60.0, minimum=0.001, name="timeout"
    )
    retries: int = _remote("--retries", "Attempts after the first.", metavar="N", default=5, minimum=0)
    max_wait_s: float = _remote(
        "--max-wait", "Longest wait that a provider may ask for.", metavar="S", default=60.0, minimum=0, name="max_wait"
    )
    requests_per_minute: int | None = _count("--requests-per-minute", "Client-side limit.")
    tokens_per_minute: int | None = _count("--tokens-per-minute", "Client-side limit.")
    max_units: int | None = _remote(
        "--max-units", "Refuse to bill more search units.", metavar="N", kind=int, minimum=0
    )
    dry_run: bool = _remote(
        "--dry-run", "Print requests, tokens and units, send nothing.", default=False, configurable=False
    )
    allow_split: bool = _remote("--allow-split", "Split requests of listwise models.", default=False)
    native_rank_fields: bool = _remote("--native-rank-fields", "Let the provider choose the fields.", default=False)
    ca_bundle: Path | None = _remote("--ca-bundle", "Trust these certificates.", metavar="FILE", kind=Path)
    insecure: bool = _remote("--insecure", "Do not check certificates (warns on every run).", default=False)
    rank_fields: tuple[str, ...] = ()  # with YAML rendering only; a row that chooses fields itself gets objects
    endpoints: dict[str, dict[str, object]] = field(default_factory=dict)  # the named ones of trusted config files
    prices: dict[str, float] = field(default_factory=dict)  # per search unit, of trusted config files


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
    backend: Backend = _model(
        "--backend", "auto, onnx, openvino or torch.", metavar="NAME", default="auto", choices=get_args(Backend)
    )
    device: str = _model("--device", "auto, cpu, cuda, cuda:N.", metavar="NAME", default="auto")
    dtype: Dtype = _model(
        "--dtype", "auto, fp32, bf16, fp16 or int8.", metavar="TYPE", default="auto", choices=get_args(Dtype)
    )
    # More threads than the maximum are a slip, and the engine would hang making them.
    threads: int | None = _model(
        "--threads",
        "CPU threads (default: what this container may use).",
        metavar="N",
        kind=int,
        minimum=1,
        maximum=4096,
    )
    instruction: str | None = _model("--instruction", "Task for rerankers that take one.", metavar="TEXT")
    offline: bool = _model("--offline", "Never use the network; name what is missing.", default=False)
    require_revision: bool = _model(
        "--require-revision", "Refuse a hub model without a pinned revision.", default=False
    )
    trust_remote_code: bool = _model(
        "--trust-remote-code", "Run code of a model with a pinned revision.", default=False
    )
    allow_pickle: bool = _model("--allow-pickle", "Load .bin weights, which can run code.", default=False)
    spinning: bool = True  # threads wait actively between batches: faster, but a server that idles must not
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
