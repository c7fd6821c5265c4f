"""Every option of every command, declared once: flags, group, help, choices, environment variable.

Help texts, completions, the man page and the tables in README and docs are generated from here. Nothing is parsed or
run
here. Values arrive as text, whole numbers, numbers, paths, lists or booleans; choices are checked by `command.py`,
because Typer's own words for a wrong one do not say what was meant.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rerank_cli.settings import INPUT_FORMATS, OUTPUT_FORMATS

INPUT, MODEL, LONG, RANKING, EVALUATION, OUTPUT, REMOTE, CACHE, SERVER, GENERAL = (
    "Input",
    "Model",
    "Long documents",
    "Ranking",
    "Evaluation",
    "Output",
    "Remote endpoints",
    "Score cache",
    "Server",
    "General",
)
GROUPS = (INPUT, RANKING, EVALUATION, OUTPUT, SERVER, LONG, MODEL, REMOTE, CACHE, GENERAL)

# What an option may be, checked with did-you-mean and offered by completion.
CHOICES: dict[str, tuple[str, ...]] = {
    "input_format": INPUT_FORMATS,
    "format": OUTPUT_FORMATS,
    "batch_format": ("responses", "rows", "trec"),
    "engine": ("local", "ray"),
    "query_format": ("auto", "tsv", "jsonl", "lines"),
    "field_format": ("yaml", "text"),
    "long_documents": ("chunk", "truncate", "error"),
    "fusion": ("rrf", "weighted"),
    "backend": ("auto", "onnx", "openvino", "torch"),
    "dtype": ("auto", "fp32", "bf16", "fp16", "int8"),
    "color": ("auto", "always", "never"),
    "cache_mode": ("rw", "ro"),
    "shell": ("bash", "zsh", "fish"),
    "report_format": ("auto", "table", "json", "csv", "markdown"),
    "action": ("info", "verify", "clear"),
    "models_action": ("list", "show", "pull", "verify", "convert"),
    "form": ("fp32", "int8", "openvino"),
}
# Smallest value of a number, inclusive.
MINIMUM: dict[str, float] = {
    "top_n": 1,
    "max_tokens_per_doc": 1,
    "max_chunks_per_doc": 1,
    "threads": 1,
    "workers": 1,
    "gpus_per_worker": 0,
    "batch_docs": 1,
    "concurrency": 1,
    "timeout": 0.001,
    "retries": 0,
    "max_wait": 0,
    "requests_per_minute": 1,
    "tokens_per_minute": 1,
    "max_units": 0,
    "worst": 0,
    "resamples": 0,
    "seed": 0,
    "depth": 1,
    "limit": 0,
    "port": 0,
    "max_body": 1,
    "max_documents": 2,
    "max_query": 1,
    "max_document": 1,
    "max_queue": 1,
    "request_timeout": 0.001,
}
# Shown by `-h`; `--help` shows all.
COMMON = frozenset(
    {"query", "files", "rank_fields", "top_n", "min_score", "format", "json", "output", "model", "explain", "verbose"}
    | {"host", "port", "keys_file"}
    | {"qrels", "measure", "baseline", "fail_under", "fail_on_drop", "worst", "report_format", "limit"}
)
# Options that make sense only on one command line, never as a habit: no environment variable, no config key.
NO_DEFAULT = frozenset(
    {"files", "query", "query_file", "output", "json", "version", "config", "no_config", "dry_run", "form"}
)
# Options that a stronger layer takes over from a weaker one: `--text-field` on the command line ends a configured
# `rank_fields` instead of quarrelling with it.
EXCLUSIVE = (("rank_fields", "text_field"), ("json", "format"), ("json", "report_format"))
# Strings that are lists: configuration may write ["title", "body"] for "title,body".
JOINED = frozenset({"rank_fields"})
# Strings of JSON: configuration may write a table.
TABLES = frozenset({"extra"})
# Options that let a model run code: given for the user's own models, they do not reach one that a project file chose.
RUNS_CODE = frozenset({"trust_remote_code", "allow_pickle"})
# Groups whose options a project's rerank.toml may set; `model` besides, by hub name (rerank_cli.config.trust).
PROJECT_GROUPS = frozenset({INPUT, RANKING, EVALUATION, OUTPUT, LONG})
ENV_PREFIX = "RERANK_"

Files = Annotated[
    list[str] | None,
    typer.Argument(metavar="[FILE]...", help="Documents to rank; `-` is stdin. Without files, stdin is read."),
]
Query = Annotated[str | None, typer.Option("--query", "-q", metavar="TEXT", help="The query.", rich_help_panel=INPUT)]
QueryFile = Annotated[
    Path | None,
    typer.Option("--query-file", metavar="FILE", help="Read the query from a file.", rich_help_panel=INPUT),
]
InputFormat = Annotated[
    str,
    typer.Option(
        "--input-format",
        metavar="FORMAT",
        help="auto, jsonl, json, yaml, lines, csv, tsv, or files (each FILE is one document). auto goes by file name, "
        "then by content; scripts should say which.",
        rich_help_panel=INPUT,
    ),
]
RankFields = Annotated[
    str | None,
    typer.Option(
        "--rank-fields",
        metavar="A,B",
        help="Score these fields of structured documents, in this order, e.g. title,body; `a.b` reaches nested keys.",
        rich_help_panel=INPUT,
    ),
]
FieldFormat = Annotated[
    str,
    typer.Option(
        "--field-format",
        metavar="FORMAT",
        help="How rank fields are rendered: yaml (key: value) or text (values only).",
        rich_help_panel=INPUT,
    ),
]
TextField = Annotated[
    str | None,
    typer.Option(
        "--text-field",
        metavar="NAME",
        help="Score the bare value of this field (default: text; an error where it is missing).",
        rich_help_panel=INPUT,
    ),
]
IdField = Annotated[
    str | None,
    typer.Option(
        "--id-field", metavar="NAME", help="The field with the id (default: id, _id or docid).", rich_help_panel=INPUT
    ),
]
Null = Annotated[
    bool,
    typer.Option("--null", "-z", help="Lines end with NUL, in and out, as with find -print0.", rich_help_panel=INPUT),
]
TopN = Annotated[
    int | None, typer.Option("--top-n", "-n", metavar="N", help="Print the N best only.", rich_help_panel=RANKING)
]
MinScore = Annotated[
    float | None,
    typer.Option(
        "--min-score",
        metavar="X",
        help="Drop documents below this relevance_score (the number shown).",
        rich_help_panel=RANKING,
    ),
]
FailIfEmpty = Annotated[
    bool,
    typer.Option(
        "--fail-if-empty",
        help="Exit 7 if the result is empty, e.g. when nothing reaches --min-score 0.5.",
        rich_help_panel=RANKING,
    ),
]
Judged = Annotated[
    str | None,
    typer.Option(
        "--qrels",
        metavar="FILE",
        help="Judgements: say what ranking did to nDCG@10 and RR@10 (else by `relevance` in the documents).",
        rich_help_panel=RANKING,
    ),
]
Expect = Annotated[
    list[str] | None,
    typer.Option(
        "--expect",
        metavar="ID@K",
        help="Exit 7 unless document ID is among the first K; repeatable.",
        rich_help_panel=RANKING,
    ),
]
Dedupe = Annotated[
    bool, typer.Option("--dedupe", help="Keep only the first document of each text.", rich_help_panel=RANKING)
]
KeepOrder = Annotated[
    bool,
    typer.Option("--keep-order", help="Print in input order, with scores: for paste and awk.", rich_help_panel=RANKING),
]
PriorField = Annotated[
    str | None,
    typer.Option(
        "--prior-field",
        metavar="NAME",
        help="Fuse with the retriever's own score in this field.",
        rich_help_panel=RANKING,
    ),
]
FusionHow = Annotated[
    str | None,
    typer.Option(
        "--fusion",
        metavar="HOW",
        help="rrf: 1/(60+rank) + W/(60+prior's rank); weighted: W * score + (1-W) * prior's percentile rank.",
        rich_help_panel=RANKING,
    ),
]
Weight = Annotated[
    float | None,
    typer.Option(
        "--weight", metavar="W", help="W of --fusion (default: rrf 1, weighted 0.5).", rich_help_panel=RANKING
    ),
]
RawScores = Annotated[
    bool, typer.Option("--raw-scores", help="Show logits instead of 0 to 1.", rich_help_panel=RANKING)
]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="table, json, jsonl, lines (as they came, no scores), ids (else the index), csv, tsv, trec, markdown. "
        "auto: a table on a terminal, else lines as lines, rows as rows, anything else as jsonl; scripts should "
        "say which.",
        rich_help_panel=OUTPUT,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Same as -f json.", rich_help_panel=OUTPUT)]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help="Write to a file, whole or not at all.", rich_help_panel=OUTPUT
    ),
]
Explain = Annotated[
    bool,
    typer.Option("--explain", help="Add what was scored: text, tokens, logit, windows.", rich_help_panel=OUTPUT),
]
Documents = Annotated[
    bool, typer.Option("--documents/--no-documents", help="Leave documents out of json.", rich_help_panel=OUTPUT)
]
ResultKey = Annotated[
    str | None,
    typer.Option(
        "--result-key", metavar="NAME", help="Nest index, rank and relevance_score under NAME.", rich_help_panel=OUTPUT
    ),
]
QueryId = Annotated[
    str, typer.Option("--query-id", metavar="ID", help="Query id of trec output.", rich_help_panel=OUTPUT)
]
RunTag = Annotated[
    str, typer.Option("--run-tag", metavar="TAG", help="Run tag of trec output.", rich_help_panel=OUTPUT)
]
Color = Annotated[str, typer.Option("--color", metavar="WHEN", help="auto, always or never.", rich_help_panel=OUTPUT)]
MaxTokensPerDoc = Annotated[
    int,
    typer.Option(
        "--max-tokens-per-doc", metavar="N", help="Cut longer documents, before anything else.", rich_help_panel=LONG
    ),
]
LongDocuments = Annotated[
    str,
    typer.Option(
        "--long-documents",
        metavar="HOW",
        help="Beyond the model's window: chunk (best window counts), truncate or error.",
        rich_help_panel=LONG,
    ),
]
MaxChunksPerDoc = Annotated[
    int | None,
    typer.Option("--max-chunks-per-doc", metavar="N", help="At most N windows a document.", rich_help_panel=LONG),
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="builtin, a Hugging Face name (owner/name[@revision]), a folder (./path), provider:model "
        "(cohere:rerank-v3.5) or a named endpoint.",
        rich_help_panel=MODEL,
    ),
]
Backend = Annotated[
    str,
    typer.Option("--backend", metavar="NAME", help="auto, onnx, openvino or torch.", rich_help_panel=MODEL),
]
Device = Annotated[
    str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:N.", rich_help_panel=MODEL)
]
Dtype = Annotated[
    str, typer.Option("--dtype", metavar="TYPE", help="auto, fp32, bf16, fp16 or int8.", rich_help_panel=MODEL)
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads", metavar="N", help="CPU threads (default: what this container may use).", rich_help_panel=MODEL
    ),
]
Instruction = Annotated[
    str | None,
    typer.Option("--instruction", metavar="TEXT", help="Task for rerankers that take one.", rich_help_panel=MODEL),
]
Offline = Annotated[
    bool, typer.Option("--offline", help="Never use the network; name what is missing.", rich_help_panel=MODEL)
]
RequireRevision = Annotated[
    bool,
    typer.Option("--require-revision", help="Refuse a hub model without a pinned revision.", rich_help_panel=MODEL),
]
TrustRemoteCode = Annotated[
    bool,
    typer.Option("--trust-remote-code", help="Run code of a model with a pinned revision.", rich_help_panel=MODEL),
]
AllowPickle = Annotated[
    bool, typer.Option("--allow-pickle", help="Load .bin weights, which can run code.", rich_help_panel=MODEL)
]
Endpoint = Annotated[
    str | None, typer.Option("--endpoint", metavar="URL", help="Where the provider listens.", rich_help_panel=REMOTE)
]
ApiKeyEnv = Annotated[
    str | None,
    typer.Option(
        "--api-key-env",
        metavar="NAME",
        help="Variable with the key (default: the provider's own, as CO_API_KEY).",
        rich_help_panel=REMOTE,
    ),
]
ApiKeyFile = Annotated[
    Path | None,
    typer.Option("--api-key-file", metavar="FILE", help="File that holds the key.", rich_help_panel=REMOTE),
]
AuthHeader = Annotated[
    str | None,
    typer.Option("--auth-header", metavar="NAME", help="Send the key in this header.", rich_help_panel=REMOTE),
]
ClientName = Annotated[
    str | None, typer.Option("--client-name", metavar="NAME", help="X-Client-Name.", rich_help_panel=REMOTE)
]
Header = Annotated[
    list[str] | None,
    typer.Option(
        "--header",
        metavar="'X: V'",
        help="Extra header; `X: @env:NAME` for secrets; repeatable.",
        rich_help_panel=REMOTE,
    ),
]
Extra = Annotated[
    str | None,
    typer.Option("--extra", metavar="JSON", help="Members added to the request body.", rich_help_panel=REMOTE),
]
BatchDocs = Annotated[
    int | None, typer.Option("--batch-docs", metavar="N", help="Documents a request.", rich_help_panel=REMOTE)
]
Concurrency = Annotated[
    int, typer.Option("--concurrency", metavar="N", help="Requests at a time.", rich_help_panel=REMOTE)
]
Timeout = Annotated[
    float, typer.Option("--timeout", metavar="S", help="Seconds a request may take.", rich_help_panel=REMOTE)
]
Retries = Annotated[
    int, typer.Option("--retries", metavar="N", help="Attempts after the first.", rich_help_panel=REMOTE)
]
MaxWait = Annotated[
    float,
    typer.Option("--max-wait", metavar="S", help="Longest wait that a provider may ask for.", rich_help_panel=REMOTE),
]
RequestsPerMinute = Annotated[
    int | None,
    typer.Option("--requests-per-minute", metavar="N", help="Client-side limit.", rich_help_panel=REMOTE),
]
TokensPerMinute = Annotated[
    int | None, typer.Option("--tokens-per-minute", metavar="N", help="Client-side limit.", rich_help_panel=REMOTE)
]
MaxUnits = Annotated[
    int | None,
    typer.Option("--max-units", metavar="N", help="Refuse to bill more search units.", rich_help_panel=REMOTE),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print requests, tokens and units, send nothing.", rich_help_panel=REMOTE)
]
AllowSplit = Annotated[
    bool, typer.Option("--allow-split", help="Split requests of listwise models.", rich_help_panel=REMOTE)
]
NativeRankFields = Annotated[
    bool,
    typer.Option("--native-rank-fields", help="Let the provider choose the fields.", rich_help_panel=REMOTE),
]
CaBundle = Annotated[
    Path | None, typer.Option("--ca-bundle", metavar="FILE", help="Trust these certificates.", rich_help_panel=REMOTE)
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Do not check certificates (said each time).", rich_help_panel=REMOTE)
]
Cache = Annotated[
    bool,
    typer.Option("--cache/--no-cache", help="Keep scores and look them up before scoring.", rich_help_panel=CACHE),
]
CachePath = Annotated[
    Path | None,
    typer.Option("--cache-path", metavar="FILE", help="The cache file (default: the user's).", rich_help_panel=CACHE),
]
CacheMode = Annotated[
    str,
    typer.Option("--cache-mode", metavar="MODE", help="rw, or ro: read only (CI).", rich_help_panel=CACHE),
]
Verbose = Annotated[
    int, typer.Option("--verbose", "-v", count=True, help="Say model, backend and why.", rich_help_panel=GENERAL)
]
Quiet = Annotated[
    bool, typer.Option("--quiet", help="No notes, warnings or progress; errors stay.", rich_help_panel=GENERAL)
]
Debug = Annotated[bool, typer.Option("--debug", help="Tracebacks for errors.", rich_help_panel=GENERAL)]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Read this configuration file too; it beats the others.",
        rich_help_panel=GENERAL,
    ),
]
NoConfig = Annotated[bool, typer.Option("--no-config", help="Read no configuration file.", rich_help_panel=GENERAL)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=OUTPUT)]
CommandName = Annotated[
    str, typer.Argument(metavar="[COMMAND]", help="The command whose options are shown (default: rank).")
]
Shell = Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")]
