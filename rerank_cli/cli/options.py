"""The options that commands share, declared once: input, ranking, output, long documents, general.

What scores (model, remote endpoint, cache) is in scorer_options.py, rules about options in option_rules.py. Help texts,
completions, the man page and the tables in README and docs are generated from these. Nothing is parsed or run here.
Values arrive as text, whole numbers, numbers, paths, lists or booleans; choices are checked by `command.py`, because
Typer's own words for a wrong one do not say what was meant.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rerank_cli.cli.option_rules import GENERAL, INPUT, LONG, OUTPUT, RANKING

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
ReturnDocuments = Annotated[
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
