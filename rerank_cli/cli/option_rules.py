"""What holds for options by name: their groups, choices, smallest values, and where they may be set.

It does not declare them (options.py, scorer_options.py and the `*_options.py` of commands) and parses nothing.
"""

from __future__ import annotations

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
    "form": ("fp32", "int8", "openvino"),
}
# Smallest value of a number, inclusive.
MINIMUM: dict[str, float] = {
    "top_n": 1,
    "weight": 0,
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
    "verbose": 0,
    "max_body": 1,
    "max_documents": 2,
    "max_query": 1,
    "max_document": 1,
    "max_queue": 1,
    "request_timeout": 0.001,
}
# Largest value, inclusive: more threads than this is a slip, and the engine would hang making them.
MAXIMUM: dict[str, float] = {"threads": 4096}
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
