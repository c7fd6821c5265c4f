"""Options to settings: the one place where flags, a request body and defaults meet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerank_cli.errors import UsageError
from rerank_cli.settings import (
    DEFAULT_ID_FIELDS,
    DEFAULT_TEXT_FIELD,
    EXTENSIONS,
    CacheSettings,
    FieldSettings,
    InputSettings,
    Limits,
    ModelSettings,
    OutputSettings,
    RankSettings,
    RemoteSettings,
)

if TYPE_CHECKING:
    from rerank_cli.records import RequestOptions
    from rerank_cli.settings import OutputFormat

TAKEN = frozenset({"document", "truncated", "chunks", "best_chunk", "query_id"})  # what writers put beside a result
# What says where an endpoint is, who asks or what it may do: typed for a local model, the wrong model would score.
REMOTE_ONLY = (
    "endpoint", "api_key_env", "api_key_file", "auth_header", "header", "extra", "max_units", "native_rank_fields",
)  # fmt: skip
# What every model is opened with, local or not.
MODEL_OPTIONS = (
    "model", "backend", "device", "dtype", "threads", "instruction", "offline", "trust_remote_code", "allow_pickle",
    "require_revision",
)  # fmt: skip
DEFAULT_WEIGHTS = {"rrf": 1.0, "weighted": 0.5}


def fields_of(options: dict[str, Any]) -> FieldSettings:
    """Which fields are scored. Raises UsageError for options that contradict each other."""
    if options["rank_fields"] and options["text_field"]:
        raise UsageError("--rank-fields and --text-field exclude each other", "give one of them")
    names = tuple(name.strip() for name in (options["rank_fields"] or "").split(",") if name.strip())
    if options["rank_fields"] is not None and not names:
        raise UsageError("--rank-fields names no field", "for example `--rank-fields title,body`")
    for name in ("text_field", "id_field", "prior_field"):
        if options[name] == "":
            raise UsageError(f"--{name.replace('_', '-')} names no field", "leave it out, or name one")
    return FieldSettings(
        rank_fields=names,
        field_format=options["field_format"],
        text_field=options["text_field"] or DEFAULT_TEXT_FIELD,
        id_fields=(options["id_field"],) if options["id_field"] else DEFAULT_ID_FIELDS,
        prior_field=options["prior_field"],
        explicit_text_field=options["text_field"] is not None,
    )


def inputs_of(options: dict[str, Any]) -> InputSettings:
    """Which documents are read."""
    members = {"query_file": "query", "text_field": "rank_fields"}  # of a request, where the option's name is another
    names = ("query", "query_file", "top_n", "max_chunks_per_doc", "rank_fields", "text_field")
    return InputSettings(
        settled=frozenset(members.get(name, name) for name in names if options.get(name) is not None),
        files=tuple(options["files"] or ()),
        input_format=options["input_format"],
        null=options["null"],
        fields=fields_of(options),
    )


def limits_of(options: dict[str, Any], body: RequestOptions, given: frozenset[str]) -> Limits:
    """How long documents are treated: flags, then the request body, then defaults."""
    max_tokens = options["max_tokens_per_doc"]
    if body.max_tokens_per_doc is not None and "max_tokens_per_doc" not in given:
        max_tokens = body.max_tokens_per_doc
    chunks = options["max_chunks_per_doc"]
    return Limits(max_tokens, options["long_documents"], body.max_chunks_per_doc if chunks is None else chunks)


def rank_settings_of(options: dict[str, Any], body: RequestOptions, given: frozenset[str]) -> RankSettings:
    """How scores become an order. Raises UsageError where fusion lacks its other half."""
    fusion, prior, weight = options["fusion"], options["prior_field"], options["weight"]
    if fusion and not prior:
        raise UsageError("--fusion needs the retriever's score", "name its field: `--prior-field score`")
    if prior and not fusion:
        fusion = "rrf"
    if weight is not None and not fusion:
        raise UsageError("--weight belongs to --fusion", "give `--prior-field NAME --fusion rrf|weighted`")
    if fusion == "weighted" and options["raw_scores"]:
        raise UsageError("--fusion weighted mixes scores from 0 to 1 and cannot use --raw-scores")
    if fusion == "weighted" and weight is not None and weight > 1:
        raise UsageError(f"--weight: `{weight:g}` is too large", "--fusion weighted takes a weight from 0 to 1")
    return RankSettings(
        top_n=body.top_n if options["top_n"] is None else options["top_n"],
        min_score=options["min_score"],
        dedupe=options["dedupe"],
        keep_order=options["keep_order"],
        raw_scores=options["raw_scores"],
        fusion=fusion,
        weight=DEFAULT_WEIGHTS.get(fusion or "", 1.0) if weight is None else weight,
        limits=limits_of(options, body, given),
    )


def output_of(
    options: dict[str, Any], body: RequestOptions, given: frozenset[str], *, batch: bool = False
) -> OutputSettings:
    """How the ranking is written. Raises UsageError for options that contradict each other."""
    if (key := options["result_key"]) is not None and (not key or key in TAKEN):
        what = f"`{key}` stands beside it in some output" if key else "it names no key"
        raise UsageError(f"--result-key: {what}", "choose another name, as in `--result-key rerank`")
    if options["json"] and options["format"] not in {"auto", "json"}:
        raise UsageError(f"--json and -f {options['format']} exclude each other")
    said = "return_documents" in given
    return OutputSettings(
        format="json" if options["json"] else options["format"] if batch else _format(options),
        output=options["output"],
        null=options["null"],
        documents=options["return_documents"] if said else body.return_documents is not False,
        as_requested=batch and not said,
        result_key=options["result_key"],
        explain=options["explain"],
        query_id=options["query_id"],
        run_tag=options["run_tag"],
    )


def _format(options: dict[str, Any]) -> OutputFormat:
    """The format, where the name of a -o that was typed beats one that was configured."""
    typed = options.get("typed", frozenset())
    path = options["output"]
    if path is not None and "output" in typed and "format" not in typed and path.suffix.lower() in EXTENSIONS:
        return "auto"
    chosen: OutputFormat = options["format"]
    return chosen


def model_of(options: dict[str, Any], body: RequestOptions | None = None) -> ModelSettings:
    """Which scorer; remote settings ride along untouched. Raises UsageError if they were typed for a local model."""
    from rerank_cli.scorers.registry import is_remote

    found = ModelSettings(remote=remote_of(options, body), **{name: options[name] for name in MODEL_OPTIONS})
    asked = next((name for name in REMOTE_ONLY if name in options.get("typed", ())), None)
    if asked and not is_remote(found):
        raise UsageError(
            f"--{asked.replace('_', '-')} belongs to a remote endpoint, and `{found.model}` is a local model",
            "name the provider, as in `-m tei:` or `-m cohere:rerank-v3.5`",
        )
    return found


def local_model_of(options: dict[str, Any], what: str, hint: str) -> ModelSettings:
    """The model of a command that takes local ones only. Raises UsageError for a remote one, in the command's words."""
    from rerank_cli.scorers.registry import is_remote

    remote = RemoteSettings(endpoints=options["trusted"].endpoints)  # their names are no models
    found = ModelSettings(remote=remote, **{name: options[name] for name in MODEL_OPTIONS})
    if is_remote(found):
        raise UsageError(what.format(model=found.model), hint)
    return found


def remote_of(options: dict[str, Any], body: RequestOptions | None = None) -> RemoteSettings:
    """How an endpoint is called. Rank fields ride along in case the provider chooses fields itself."""
    same = (
        "endpoint", "api_key_env", "api_key_file", "auth_header", "client_name", "extra", "batch_docs", "concurrency",
        "retries", "requests_per_minute", "tokens_per_minute", "max_units", "allow_split",
        "native_rank_fields", "ca_bundle", "insecure",
    )  # fmt: skip
    trusted = options.get("trusted")  # what configuration files may say of endpoints (rerank_cli.cli.command.collect)
    fields = fields_of(options).rank_fields or (body.rank_fields if body else None) or ()
    return RemoteSettings(
        rank_fields=fields if options["field_format"] == "yaml" else (),
        endpoints=trusted.endpoints if trusted else {},
        prices=trusted.prices if trusted else {},
        headers=tuple(options["header"] or ()),
        timeout_s=options["timeout"],
        max_wait_s=options["max_wait"],
        **{name: options[name] for name in same},
    )


def cache_of(options: dict[str, Any]) -> CacheSettings | None:
    """The score cache, None without --cache. Raises UsageError for its options without it."""
    if not options["cache"]:
        asked = next((name for name in ("cache_path", "cache_mode") if name in options.get("typed", ())), None)
        if asked:
            raise UsageError(f"--{asked.replace('_', '-')} needs --cache", "without it no score is kept or looked up")
        return None
    return CacheSettings(path=options["cache_path"], mode=options["cache_mode"])
