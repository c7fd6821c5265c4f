"""Everything a run needs, as frozen values. A field that is an option says so (rerank_cli.options).

The command line fills these records; the Python API and the server build them. The core reads nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from rerank_cli.model_settings import (
    DAY,
    DEFAULT_CACHE_BYTES,
    NAMED_KEYS,
    Backend,
    CacheSettings,
    Dtype,
    LoadAs,
    ModelSettings,
    RemoteSettings,
)
from rerank_cli.options import INPUT, LONG, OUTPUT, RANKING, nested, option
from rerank_cli.stage_settings import StageSettings

if TYPE_CHECKING:
    from collections.abc import Callable

# What this module offers beside its own records.
__all__ = [
    "DAY",
    "DEFAULT_CACHE_BYTES",
    "NAMED_KEYS",
    "Backend",
    "CacheSettings",
    "Dtype",
    "LoadAs",
    "ModelSettings",
    "RemoteSettings",
    "StageSettings",
]

InputFormat = Literal["auto", "jsonl", "json", "yaml", "lines", "csv", "tsv", "files"]
OutputFormat = Literal["auto", "table", "json", "jsonl", "lines", "ids", "csv", "tsv", "trec", "markdown", "context"]
FieldFormat = Literal["yaml", "text"]
LongDocuments = Literal["chunk", "truncate", "error"]
Fusion = Literal["rrf", "weighted"]
Join = Literal["max", "mean", "rrf"]
OnMissing = Literal["empty", "skip", "error"]

INPUT_FORMATS: tuple[str, ...] = get_args(InputFormat)
OUTPUT_FORMATS: tuple[str, ...] = get_args(OutputFormat)
# The format that the name of an output file means.
EXTENSIONS = {
    ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv", ".md": "markdown",
    ".trec": "trec",
}  # fmt: skip
DEFAULT_ID_FIELDS = ("id", "_id", "docid")
DEFAULT_TEXT_FIELD = "text"
DEFAULT_MAX_TOKENS = 4096
DEFAULT_MAX_LINE, DEFAULT_MAX_UNPACKED = 256 << 20, 2 << 30  # bytes

_input, _ranking, _output, _long = (partial(option, group=group) for group in (INPUT, RANKING, OUTPUT, LONG))


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
        "Score the bare value of this field (default: text).",
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
    on_missing: OnMissing = _input(
        "--on-missing",
        "A document without text (null, missing, empty) is ranked last, left out or refused: empty, skip or error.",
        metavar="HOW",
        default="empty",
        choices=get_args(OnMissing),
    )
    records: str | None = _input("--records", "Where JSON has its documents, e.g. `hits.hits[]`.", metavar="KEYS")
    prior_field: str | None = None  # RankSettings.prior_field
    explicit_text_field: bool = False  # --text-field was given: the field must be there even for strings' sake
    join_titles: bool = False  # records in BEIR's layout (`_id`, `title`, `text`) are scored by title and text
    builder: Callable[..., Any] | None = None  # what becomes of a parsed record, in place of `fields.build_document`


@dataclass(frozen=True, slots=True)
class Decoding:
    """How the bytes of an input become text, and how many of them are held at once."""

    encoding: str | None = _input(
        "--encoding", "The encoding, such as cp1252 (default: by its byte order mark, else UTF-8).", metavar="NAME"
    )
    max_line: int = _input(
        "--max-line",
        "Longest line that is read, and longest field of CSV.",
        metavar="BYTES",
        default=DEFAULT_MAX_LINE,
        minimum=1,
    )
    max_unpacked: int = _input(
        "--max-unpacked",
        "Largest unpacked size of a compressed file that must be read whole (JSON, YAML).",
        metavar="BYTES",
        default=DEFAULT_MAX_UNPACKED,
        minimum=1,
    )


DECODING = Decoding()


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
    delimiter: str | None = _input(
        "--delimiter", "The delimiter of CSV: a character or `tab` (default: detected).", metavar="CHAR"
    )
    decoding: Decoding = nested(Decoding)
    fields: FieldSettings = nested(FieldSettings)
    null: bool = _input("--null -z", "Lines end with NUL, in and out, as with find -print0.", default=False)
    settled: frozenset[str] = frozenset()  # request members that options decide, so that requests may differ in them


@dataclass(frozen=True, slots=True)
class RankSettings:
    """How scores become an order."""

    top_n: int | None = _ranking(
        "--top-n -n", "Print only the N best documents.", metavar="N", kind=int, minimum=1, in_short_help=True
    )
    min_score: float | None = _ranking(
        "--min-score",
        "Drop documents below this relevance_score (the number shown); one for each model: builtin=0.3,cohere=0.1.",
        metavar="X",
        kind=float,
        by_model=True,
        in_short_help=True,
    )
    keep_order: bool = _ranking("--keep-order", "Print in input order, with scores: for paste and awk.", default=False)
    prior_field: str | None = _ranking(
        "--prior-field", "Fuse with the retriever's score in this field.", metavar="NAME"
    )
    fusion: Fusion | None = _ranking(
        "--fusion",
        "rrf: 1/(60+rank) + W/(60+prior's rank); weighted: W * score + (1-W) * prior's percentile rank.",
        metavar="HOW",
        choices=get_args(Fusion),
    )
    weight: float = _ranking(
        "--weight",
        "Weight of the prior's ranking with --fusion rrf (default: 1), of the relevance score with --fusion weighted "
        "(0.5), of --recency and --boost-field without --fusion (1).",
        metavar="W",
        kind=float,
        unset=0.5,
        minimum=0,
    )
    join: Join = _ranking(
        "--join",
        "A document's scores for several queries: the highest (max), their mean, or rrf: the sum of 1/(60+rank).",
        metavar="HOW",
        default="max",
        choices=get_args(Join),
    )
    raw_scores: bool = _ranking("--raw-scores", "Print logits instead of scores from 0 to 1.", default=False)
    prefilter: int | None = _ranking(
        "--prefilter",
        "Score only the N documents that share most words with the query (BM25), for very large inputs.",
        metavar="N",
        kind=int,
        minimum=1,
    )
    stages: StageSettings = nested(StageSettings)
    limits: Limits = nested(Limits)
    min_scores: tuple[float | None, ...] = ()  # of -m and each --fallback, where each model has its own min_score


@dataclass(frozen=True, slots=True)
class OutputSettings:
    """How a ranking is written."""

    format: OutputFormat = _output(
        "--format -f",
        "table, json, jsonl, lines (as they came, no scores), ids (else the index), csv, tsv (of lines: rank, score, "
        "text, no header), trec, markdown, context (for a prompt). auto: a table on a terminal, else lines as lines, "
        "rows as rows, anything else as jsonl; scripts should say which.",
        metavar="FORMAT",
        default="auto",
        choices=OUTPUT_FORMATS,
        overrides=("json", "context"),
        in_short_help=True,
    )
    json: bool = _output(
        "--json", "Same as -f json.", default=False, configurable=False, overrides=("format",), in_short_help=True
    )
    context: bool = _output(
        "--context", "Same as -f context.", default=False, configurable=False, overrides=("format",)
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
        "--documents/--no-documents", "Leave documents out of the output.", default=True, name="return_documents"
    )
    as_requested: bool = False  # batch: a request that wants no documents back gets none
    names_model: bool = False  # batch: each row says which model of a chain scored it
    result_key: str | None = _output("--result-key", "Nest index, rank and relevance_score under NAME.", metavar="NAME")
    query_id: str = _output("--query-id", "Query id of trec output.", metavar="ID", default="1")
    run_tag: str = _output("--run-tag", "Run tag of trec output.", metavar="TAG", default="rerank")
