"""Rules between options, and what a request may decide where no option does: options to the settings of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rerank_cli.compression import extension_of
from rerank_cli.errors import UsageError
from rerank_cli.options import options_of
from rerank_cli.readers.delimiters import parse_delimiter
from rerank_cli.readers.encodings import check_encoding
from rerank_cli.settings import (
    EXTENSIONS,
    CacheSettings,
    FieldSettings,
    InputSettings,
    ModelSettings,
    OutputSettings,
    RankSettings,
    RemoteSettings,
    StageSettings,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerank_cli.cli.sources import Call
    from rerank_cli.records import RequestOptions

TAKEN = frozenset({"document", "truncated", "chunks", "best_chunk", "query_id"})  # what writers put beside a result
OF_MODELS = tuple(one.name for one in options_of(ModelSettings))
# How a command declares that it takes local models only.
LOCAL_ONLY: dict[str, Any] = {
    "without": frozenset(one.name for one in options_of(RemoteSettings)) | {"fallback", "fail_closed"},
    "changed": {"model": {"help": "builtin, a Hugging Face name (owner/name[@revision]) or a folder (./path)."}},
}
DEFAULT_WEIGHTS = {"rrf": 1.0, "weighted": 0.5}
# Members of a request that an option decides, by the option; where it is set, requests may differ in the member.
MEMBERS = {
    "query": "query",
    "query_file": "query",
    "top_n": "top_n",
    "max_chunks_per_doc": "max_chunks_per_doc",
    "rank_fields": "rank_fields",
    "text_field": "rank_fields",
}


def fields_of(call: Call) -> FieldSettings:
    """Which fields are scored. Raises UsageError for options that contradict each other."""
    values = call.values
    if values["rank_fields"] and values["text_field"]:
        raise UsageError("--rank-fields and --text-field exclude each other", "give one of them")
    for name in ("text_field", "id_field", "prior_field"):
        if values[name] == "":
            raise UsageError(f"--{name.replace('_', '-')} names no field", "leave it out, or name one")
    if values["records"]:
        from rerank_cli.readers.spans import parse_path

        parse_path(values["records"])
    fields = call.settings(FieldSettings)
    return replace(
        fields,
        id_fields=fields.id_fields if values["id_field"] is None else (values["id_field"],),
        prior_field=values["prior_field"],
        explicit_text_field=values["text_field"] is not None,
    )


def inputs_of(call: Call) -> InputSettings:
    """Which documents are read; where no option names a field, records in BEIR's layout by title and text."""
    values = call.values
    if values["encoding"] is not None:
        check_encoding(values["encoding"])
    if values["delimiter"] is not None:
        parse_delimiter(values["delimiter"])
        if values["input_format"] not in {"auto", "csv", "tsv"}:
            message = f"--delimiter separates the columns of CSV, not of --input-format {values['input_format']}"
            raise UsageError(message, "leave one of them out")
    settled = frozenset(member for name, member in MEMBERS.items() if call.values.get(name) is not None)
    fields = fields_of(call)
    fields = replace(fields, join_titles=not fields.rank_fields and not fields.explicit_text_field)
    return replace(call.settings(InputSettings), fields=fields, settled=settled)


def rank_settings_of(call: Call) -> RankSettings:
    """How scores become an order. Raises UsageError where fusion lacks its other half."""
    settings, weight = call.settings(RankSettings), call.values["weight"]
    if isinstance(call.values["min_score"], dict):
        from rerank_cli.cli.thresholds import min_scores_of
        from rerank_cli.scorers.registry import chain_of

        found = min_scores_of(
            call.values["min_score"], chain_of(model_of(call)), any_model=not call.is_typed("min_score")
        )
        settings = replace(settings, min_score=found[0], min_scores=found)
    fusion = settings.fusion or ("rrf" if settings.prior_field else None)
    if fusion and not settings.prior_field:
        raise UsageError("--fusion needs the retriever's score", "name its field: `--prior-field score`")
    stages = settings.stages
    if weight is not None and not fusion and not (stages.recency or stages.boost_field):
        hint = "give `--prior-field NAME --fusion rrf|weighted`, or `--recency FIELD`"
        raise UsageError("--weight belongs to --fusion or a boost", hint)
    if fusion and settings.join == "rrf":
        raise UsageError("--join rrf and --fusion both make the fused score", "choose --join max or mean, or no fusion")
    if fusion == "weighted" and settings.raw_scores:
        raise UsageError(
            "--fusion weighted mixes scores from 0 to 1 and cannot use --raw-scores", "leave out one of them"
        )
    if fusion == "weighted" and weight is not None and weight > 1:
        raise UsageError(f"--weight: `{weight:g}` is too large", "--fusion weighted takes a weight from 0 to 1")
    if stages != StageSettings():
        from rerank_cli.stages import check

        check(stages)
        stages = stages if fusion or weight is None else replace(stages, weight=weight)
    weight = DEFAULT_WEIGHTS.get(fusion or "", 1.0) if weight is None else weight
    return replace(settings, fusion=fusion, weight=weight, stages=stages)


def output_of(call: Call, request: RequestOptions) -> OutputSettings:
    """How the ranking of `rank` is written. Raises UsageError for options that contradict each other."""
    settings = call.settings(OutputSettings)
    if settings.result_key is not None:
        check_result_key(settings.result_key)
    short = [name for name in ("json", "context") if getattr(settings, name)]
    for name in short:
        if len(short) > 1 or settings.format not in {"auto", name}:
            other = "--context" if len(short) > 1 else f"-f {settings.format}"
            raise UsageError(f"--{name} and {other} exclude each other", "give one of them")
    asked = request.return_documents
    documents = settings.documents if asked is None or call.is_set("return_documents") else asked
    named = settings.output is not None and extension_of(settings.output) in EXTENSIONS
    if short:
        settings = replace(settings, format="json" if settings.json else "context")
    elif named and call.is_typed("output") and not call.is_typed("format"):
        settings = replace(settings, format="auto")  # the name of a typed -o overrides a configured format
    return replace(settings, documents=documents, null=call.values["null"])


def check_result_key(key: str) -> None:
    """Raise UsageError for a --result-key that names nothing, or what writers use themselves."""
    if not key or key in TAKEN:
        what = f"`{key}` is a key of the output already" if key else "it names no key"
        raise UsageError(f"--result-key: {what}", "choose another name, as in `--result-key rerank`")


def model_of(call: Call, request: RequestOptions | None = None) -> ModelSettings:
    """Which scorer; remote settings ride along untouched. Raises UsageError for an option that no model takes."""
    settings = call.settings(ModelSettings)
    # Rank fields ride along in case the provider chooses fields itself.
    rank_fields = call.values.get("rank_fields") or (request.rank_fields if request else None) or ()
    remote = replace(
        settings.remote,
        rank_fields=rank_fields if call.values["field_format"] == "yaml" else (),
        endpoints=call.endpoints,
        prices=call.prices,
    )
    if settings.fail_closed and settings.fallback:
        raise UsageError("--fallback and --fail-closed exclude each other", "give one of them")
    settings = replace(settings, remote=remote)
    if any(call.is_typed(name) for name in OF_MODELS):
        refuse_without_reach(call, [settings])
    return settings


def refuse_without_reach(call: Call, models: Sequence[ModelSettings]) -> None:
    """Raise UsageError if the command line has an option that neither the models nor their fallbacks take.

    What a file or a variable sets may wait for its model.
    """
    from rerank_cli.scorers.model_options import check_reach
    from rerank_cli.scorers.registry import chain_of

    ray = call.values.get("engine") == "ray"  # reserves --threads processors for any model
    names = [name for name in OF_MODELS if call.is_typed(name) and not (ray and name == "threads")]
    fallbacks = chain_of(replace(models[0], fallback=call.settings(ModelSettings).fallback))[1:]
    check_reach({name: f"--{name.replace('_', '-')}" for name in names}, models, fallbacks)


def local_model_of(call: Call, message: str, hint: str) -> ModelSettings:
    """The model of a command that takes local ones only. Raises UsageError with this message for a remote one."""
    from rerank_cli.scorers.registry import is_remote

    settings = call.settings(ModelSettings)
    settings = replace(
        settings, remote=replace(settings.remote, endpoints=call.endpoints)
    )  # their names are not models
    if is_remote(settings):
        raise UsageError(message.format(model=settings.model), hint)
    return settings


def cache_of(call: Call) -> CacheSettings | None:
    """The score cache, None without --cache. Raises UsageError for its options without it."""
    settings = call.settings(CacheSettings)
    if settings.enabled:
        return settings
    typed = next((name for name in ("cache_path", "cache_mode") if call.is_typed(name)), None)
    if typed:
        raise UsageError(f"--{typed.replace('_', '-')} needs --cache", "without it no score is kept or looked up")
    return None


def requested(settings: RankSettings, request: RequestOptions, given: frozenset[str]) -> RankSettings:
    """The settings with what a request asks for, where no option is set (`given`: names of those that are)."""
    asked: dict[str, Any] = {}
    if settings.top_n is None:
        asked["top_n"] = request.top_n
    limits = settings.limits
    if request.max_tokens_per_doc is not None and "max_tokens_per_doc" not in given:
        limits = replace(limits, max_tokens_per_doc=request.max_tokens_per_doc)
    if limits.max_chunks_per_doc is None:
        limits = replace(limits, max_chunks_per_doc=request.max_chunks_per_doc)
    stages = replace(settings.stages, **{name: value for name, value in request.stages.items() if name not in given})
    return replace(settings, limits=limits, stages=stages, **asked)
