"""What the options of `batch` come to: a `BatchPlan`, or a UsageError for options that contradict each other."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rerank_cli.batch.plan import BatchInputs, BatchPlan, BatchSettings, Output, Shard
from rerank_cli.cli import rules
from rerank_cli.cli.batch_options import BatchFiles, BatchOutputs, BatchRun
from rerank_cli.cli.batch_outputs import SUFFIXES, require_apart, require_distinct, stem_of
from rerank_cli.errors import UsageError
from rerank_cli.readers.folders import in_folder
from rerank_cli.readers.trec import CORPUS_KEYS
from rerank_cli.settings import DEFAULT_ID_FIELDS, InputSettings, OutputSettings

if TYPE_CHECKING:
    from rerank_cli.cli.sources import Call
    from rerank_cli.records import RequestOptions
    from rerank_cli.settings import RankSettings

# Options that decide what is written, besides settings; all others may change before a --resume.
DECIDING = (
    "batch_format", "shard", "query_format", "depth", "input_format", "delimiter", "encoding", "field_format", "errors",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SettingsOf:
    """`RankSettings` of a request; unlike a closure it can be sent to other processes."""

    settings: RankSettings
    given: frozenset[str]  # options that are set

    def __call__(self, request: RequestOptions) -> RankSettings:
        """Options, then what the request says, then defaults."""
        return rules.requested(self.settings, request, self.given)


def plan_of(call: Call) -> BatchPlan:
    """The plan. Raises UsageError for options that contradict each other."""
    ranking = rules.rank_settings_of(call)
    given = frozenset({"max_tokens_per_doc"} & set(call.sources))
    outputs = outputs_of(call)
    require_apart(call.values, files_read(call), outputs)
    settings = BatchSettings(
        settings_of=SettingsOf(ranking, given),
        format=call.values["batch_format"],
        fields=rules.fields_of(call),
        output=output_of(call),
        strict=call.settings(BatchRun).strict,
    )
    decisive = {key: call.values[key] for key in DECIDING}
    identity = [decisive, repr((settings.fields, ranking, settings.output)), sorted(given)]
    files = call.settings(InputSettings).files
    return BatchPlan(
        inputs=batch_inputs_of(call),
        outputs=outputs,
        settings=settings,
        identity=json.dumps(identity, sort_keys=True, default=str),
        shard=shard_of(call.values["shard"]),
        resume=call.values["resume"],
        implicit_stdin=outputs[0].files == ("-",) and not files,
        out_dir=call.values["out_dir"],
        errors=call.values["errors"],
        qrels=call.values["qrels"],
    )


def output_of(call: Call) -> OutputSettings:
    """How a row is rendered; a request may ask for no documents where no option says it. Raises UsageError."""
    chosen = call.settings(BatchOutputs)
    if chosen.result_key is not None:
        rules.check_result_key(chosen.result_key)
    if chosen.context and chosen.batch_format != "responses":
        hint = "leave one of them out"
        raise UsageError(f"--context adds to responses, and -f {chosen.batch_format} writes none", hint)
    return OutputSettings(
        format="jsonl",
        context=chosen.context,
        documents=chosen.return_documents,
        as_requested=not call.is_set("return_documents"),
        names_model=bool(call.values["fallback"]),
        result_key=chosen.result_key,
        explain=chosen.explain,
        run_tag=chosen.run_tag,
    )


def batch_inputs_of(call: Call) -> BatchInputs:
    """What is ranked, besides request files."""
    chosen = files_of(call)
    collection = rules.inputs_of(call)
    documents = replace(with_more_ids(collection), files=chosen.documents) if chosen.documents else None
    return BatchInputs(
        queries=chosen.queries,
        query_format=chosen.query_format,
        documents=documents,
        run=chosen.run,
        corpus=chosen.corpus,
        collection=collection,
        depth=chosen.depth,
    )


def files_of(call: Call) -> BatchFiles:
    """What is ranked; of a folder, the file that holds it. Raises InputError for a folder that does not."""
    chosen = call.settings(BatchFiles)
    return replace(
        chosen,
        queries=chosen.queries and in_folder(chosen.queries, "queries"),
        corpus=chosen.corpus and in_folder(chosen.corpus, "documents"),
        documents=tuple(in_folder(name, "documents") for name in chosen.documents),
    )


def files_read(call: Call) -> list[tuple[str, str]]:
    """The option and the name of every input file."""
    options, chosen = call.values, files_of(call)
    named = {"queries": chosen.queries, "run": chosen.run, "corpus": chosen.corpus, "qrels": options["qrels"]}
    read: list[tuple[str, str]] = [(f"--{key}", name) for key, name in named.items() if name]
    read += [("--documents", name) for name in chosen.documents]
    read += [("an input", name) for name in options["files"] or ()]
    return read


def with_more_ids(inputs: InputSettings) -> InputSettings:
    """Documents by all the usual names of ids, as a corpus has them, after the field that an option names.

    That option also speaks of the queries, so documents need not have the field.
    """
    ids = inputs.fields.id_fields
    own = () if ids == DEFAULT_ID_FIELDS else ids
    return replace(inputs, fields=replace(inputs.fields, id_fields=(*own, *CORPUS_KEYS)))


def shard_of(text: str | None) -> Shard:
    """`I/N` as a shard."""
    if text is None:
        return Shard()
    part, slash, of = text.partition("/")
    counts = part.isascii() and part.isdigit() and of.isascii() and of.isdigit() and len(of) < 10
    if not (slash and counts and len(part) < 10 and 1 <= int(part) <= int(of)):
        raise UsageError(f"--shard: `{text}` is not I/N with 1 ≤ I ≤ N", "for example `--shard 2/8`")
    return Shard(int(part), int(of))


def outputs_of(call: Call) -> tuple[Output, ...]:
    """Every output with its input files."""
    files, chosen, out = call.settings(InputSettings).files, files_of(call), call.settings(BatchOutputs)
    check_inputs_fit(call, chosen, files)
    if out.out_dir and out.output:
        raise UsageError("-o and --out-dir exclude each other", "give one of them")
    if call.values["resume"] and not (out.output or out.out_dir):
        raise UsageError("--resume needs -o or --out-dir", "output to stdout cannot be resumed")
    ray_only = ("ray_address", "workers", "gpus_per_worker")
    if call.values["engine"] != "ray" and any(call.values[key] for key in ray_only):
        raise UsageError("--ray-address, --workers and --gpus-per-worker belong to --engine ray", "add `--engine ray`")
    names = files or (chosen.run or chosen.queries or "-",)
    if not out.out_dir:
        return (Output(tuple(names), out.output),)
    suffix = SUFFIXES[out.batch_format]
    outputs = tuple(Output((name,), out.out_dir / (stem_of(name) + suffix)) for name in names)
    require_distinct([(output.files[0], str(output.target)) for output in outputs])
    return outputs


def check_inputs_fit(call: Call, chosen: BatchFiles, files: tuple[str, ...]) -> None:
    """Raise UsageError unless there are requests, or queries with documents, or a run with queries and corpus."""
    crossed, trec = bool(chosen.documents), bool(chosen.run or chosen.corpus)
    if (crossed or trec) and (files or not chosen.queries or (crossed and trec)):
        raise UsageError(
            "give requests, or --queries with --documents, or --run with --queries and --corpus",
            "see the examples of `rerank batch --help`",
        )
    if trec and not (chosen.run and chosen.corpus):
        raise UsageError("--run and --corpus belong together", "give `--run FILE --corpus FILE`")
    if chosen.queries and not (crossed or trec):
        raise UsageError("--queries needs what to rank", "give `--documents FILE`, or `--run FILE --corpus FILE`")
    if call.is_typed("depth") and not trec:
        raise UsageError("--depth belongs to --run", "a request's documents are all ranked; `-n` prints the best")
