"""The public Python API: `Reranker(model).score(…)` and `.rank(…)`, a thin front on the command line's core."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Self, get_args

from rerank_cli import pipeline, scoring
from rerank_cli.absence import FieldCheck, without_empty
from rerank_cli.errors import InputError, UsageError, did_you_mean
from rerank_cli.field_hints import TEXT_HINT, for_members
from rerank_cli.fields import NO_FIELDS, identity, type_name
from rerank_cli.member_words import expected
from rerank_cli.records import Document, Ranking, Source
from rerank_cli.report import Report
from rerank_cli.request import MemberError, read_options
from rerank_cli.scorers.model_options import check_reach, keywords_of
from rerank_cli.scorers.registry import chain_of, open_now
from rerank_cli.settings import (
    DEFAULT_ID_FIELDS,
    FieldSettings,
    Join,
    Limits,
    ModelSettings,
    OnMissing,
    RankSettings,
    RemoteSettings,
    StageSettings,
)
from rerank_cli.text import is_blank

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from rerank_cli.records import Queries

SOURCE = Source("documents", "json")


class Reranker:
    """A scorer behind two methods. Documents are strings, or mappings with `text` (or the `rank_fields`).

    Args:
        model: any model reference of the command line: `builtin`, `./folder`, `owner/name@revision`, `provider:model`.
        fallback: the models that score all documents if `model` is unusable, in order; `passthrough` keeps their order.
        options: keyword options as on the command line (`backend`, `threads`, `offline`, `endpoint`, `api_key_env`,
            `max_tokens_per_doc`, `long_documents`, `max_chunks_per_doc` …).

    Raises UsageError: an option is unknown, or none of the models takes it; ModelError: the model or its backend is
    unavailable; the message says what to do.
    """

    def __init__(self, model: str = "builtin", *, fallback: Sequence[str] = (), **options: Any) -> None:
        self.report = Report()
        given = {name: f"`{keyword}`" for name, keyword in keywords_of(options).items()}
        self._limits = _take(options, Limits)
        remote = _take(options, RemoteSettings)
        chain = tuple(_as_list(fallback, "fallback"))
        settings = replace(_take(options, ModelSettings), model=model, fallback=chain, remote=remote)
        if options:
            name = next(iter(options))
            known = [
                f.name for settings_class in (Limits, ModelSettings, RemoteSettings) for f in fields(settings_class)
            ]
            raise UsageError(f"Reranker has no option `{name}`", did_you_mean(name, known))
        check_reach(given, [settings], chain_of(settings)[1:])
        self.scorer = open_now(settings, os.environ, self.report)

    def score(self, query: str, documents: Sequence[str | Mapping[str, Any]]) -> list[float]:
        """Logits of a local model or the provider's scores, one per document in input order; NaN for an empty one."""
        documents = _as_list(documents, "documents")
        records = _documents(documents, FieldSettings(), self.report, named=False)
        scores = scoring.score_documents(query, records, self.scorer, RankSettings(limits=self._limits))
        return [float("nan") if score.value is None else score.value for score in scores]

    def rank(
        self,
        query: str | Sequence[str],
        documents: Sequence[str | Mapping[str, Any]],
        top_n: int | None = None,
        rank_fields: Sequence[str] | None = None,
        on_missing: OnMissing = "empty",
        context: bool = False,
        **options: Any,
    ) -> Ranking:
        """The ranking, best first: `.hits` with `index`, `rank`, `relevance_score` and your own `document` objects.

        Documents without text (null, missing or empty) are ranked last, or left out with `on_missing="skip"`, or with
        "error" an InputError. `context=True` makes `.context`, the block for a prompt. `options` are `join`, which
        says how scores for several queries are joined (max, mean or rrf), `prefilter`, how many documents are scored,
        those that share most words with the query, `advance`, which is called with the number of documents that were
        scored since its last call, and those of the stages after scoring by their names, as `recency="date"` or
        `highlight=2`. Raises InputError if no document has any of the fields, UsageError for a wrong option, and what
        `advance` raises.
        """
        asked = _queries(query)
        prefilter, advance = options.pop("prefilter", None), options.pop("advance", None)
        join = _choice("join", options.pop("join", "max"), Join)
        _choice("on_missing", on_missing, OnMissing)
        _check_counts(top_n=top_n, prefilter=prefilter)
        report = Report()
        documents = _as_list(documents, "documents")
        after = _stages(options)
        wanted = FieldSettings(rank_fields=tuple(_as_list(rank_fields or (), "rank_fields")), on_missing=on_missing)
        records = without_empty(_documents(documents, wanted, report), wanted, report)
        if after.active or context:
            records = [_whole(record, documents[record.index]) for record in records]
        settings = RankSettings(top_n=top_n, prefilter=prefilter, stages=after, limits=self._limits, join=join)
        ranking = pipeline.rank(asked, [records], self.scorer, settings, report, advance)
        if context:
            from rerank_cli.writers.context import block_of

            ranking = replace(ranking, context=block_of(ranking))
        hits = [hit._replace(document=documents[hit.index]) for hit in ranking.hits]
        return replace(ranking, hits=hits)

    def close(self) -> None:
        """Give back sessions, pools and connections."""
        self.scorer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _take(options: dict[str, Any], settings_class: Any) -> Any:
    """An instance of a settings class from the options that are its fields, which are removed."""
    return settings_class(**{f.name: options.pop(f.name) for f in fields(settings_class) if f.name in options})


def _queries(query: str | Sequence[str]) -> Queries:
    """One query, or several different ones. Raises UsageError if there is none or one is blank."""
    queries = (query,) if isinstance(query, str) else tuple(dict.fromkeys(_as_list(query, "query")))
    if not queries or any(map(is_blank, queries)):
        raise UsageError("the query is blank", "a query needs at least one word")
    return queries if len(queries) > 1 else queries[0]


def _choice(name: str, value: Any, choices: Any) -> Any:
    """A value that is one of the choices of a `Literal`. Raises UsageError."""
    known = get_args(choices)
    if value not in known:
        raise UsageError(f"{name} is {value!r}", f"give {', '.join(known[:-1])} or {known[-1]}")
    return value


def _check_counts(**counts: Any) -> None:
    """Raise UsageError for a number of documents that is none."""
    for name, value in counts.items():
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise UsageError(f"{name} is {value}", "give at least 1, or None for all")


def _stages(options: dict[str, Any]) -> StageSettings:
    """Settings of the stages from keyword options. Raises UsageError for one that is unknown or wrong."""
    from rerank_cli.stages import check

    given = {name: value for name, value in options.items() if value is not None}
    known = [f.name for f in fields(StageSettings)]
    if unknown := next((name for name in given if name not in known), None):
        raise UsageError(f"rank has no option `{unknown}`", did_you_mean(unknown, known))
    if "boost" in given:
        given["boost"] = _as_list(given["boost"], "boost")
    tokenizer = given.pop("tokenizer", None)
    if tokenizer is not None and not isinstance(tokenizer, str | os.PathLike):
        raise UsageError(f"tokenizer is {tokenizer!r}", "give the path of a tokenizer.json, or a model's name")
    try:
        read = read_options(given, "file").stages
    except MemberError as error:
        name, (wanted, example) = error.member.name, expected(error.member)
        hint = f"give {wanted}, as in `{name}={example}`".replace("true", "True").replace("false", "False")
        raise UsageError(f"{name} is {error.value!r}", hint) from None
    settings = StageSettings(**read, tokenizer=None if tokenizer is None else os.fspath(tokenizer))
    check(settings)
    return settings


def _whole(record: Document, document: Any) -> Document:
    """A record with its fields as JSON and its id, for stages that look at them."""
    import orjson

    options = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
    value = document if isinstance(document, str) else dict(document)
    return record._replace(raw=orjson.dumps(value, default=str, option=options), id=identity(value, DEFAULT_ID_FIELDS))


def _as_list(values: Any, name: str) -> list[Any]:
    """Several values, also those of a generator. Raises UsageError for one text, whose letters nobody means."""
    if isinstance(values, str | bytes | dict) or not hasattr(values, "__iter__"):
        raise UsageError(f"{name} is {type_name(values)}", f"give a list, as in `{name}=[…]`")
    return list(values)


def _documents(
    documents: Sequence[str | Mapping[str, Any]], settings: FieldSettings, report: Report, *, named: bool = True
) -> list[Document]:
    """Records of the caller's documents. Raises InputError, whose hint names `rank_fields` if the caller has that."""
    try:
        return _rendered(documents, settings, report)
    except InputError as error:
        hint = for_members(error.hint or TEXT_HINT, "rank_fields=[{}]" if named else None)
        if NO_FIELDS in error.message:  # of strings
            hint = "give mappings, or leave `rank_fields` out"
        raise InputError(for_members(error.message, "rank_fields=[{}]"), hint) from None


def _rendered(documents: Sequence[str | Mapping[str, Any]], settings: FieldSettings, report: Report) -> list[Document]:
    """Records of the caller's documents; raw bytes stay empty because the caller has the originals."""
    from rerank_cli.fields import make_renderer

    render, check = make_renderer(settings, report), FieldCheck(settings)
    check.begin("documents")
    check.observe_values(documents)
    check.end()
    check.finish(report)
    records = []
    for index, document in enumerate(documents):
        text, title_chars = render(document, f"document {index}")
        records.append(Document(index, b"", text, SOURCE, None, title_chars))
    return records
