"""Options of `eval` and `compare`, declared once; choices and limits are in option_rules.py."""

from __future__ import annotations

from typing import Annotated

import typer

from rerank_cli.cli.option_rules import EVALUATION, INPUT, OUTPUT

Runs = Annotated[
    list[str] | None,
    typer.Argument(metavar="RUN...", help="Runs: TREC files, or output of rank or batch; `-` is stdin."),
]
RunA = Annotated[str, typer.Argument(metavar="RUN_A", help="The first run; `-` is stdin.")]
RunB = Annotated[str, typer.Argument(metavar="RUN_B", help="The second run; `-` is stdin.")]
Qrels = Annotated[
    str | None,
    typer.Option(
        "--qrels",
        metavar="FILE",
        help="Judgements: TREC qrels, BEIR tsv, jsonl, or labelled requests. Without it, `relevance` in the runs.",
        rich_help_panel=INPUT,
    ),
]
EvalQueries = Annotated[
    str | None,
    typer.Option(
        "--queries", metavar="FILE", help="Texts for --worst: tsv (id, text) or jsonl.", rich_help_panel=INPUT
    ),
]
Measures = Annotated[
    list[str] | None,
    typer.Option(
        "--measure",
        metavar="NAMES",
        help="Measures as ir_measures writes them, e.g. nDCG@10,RR@10,AP(rel=2); repeatable "
        "(default: nDCG@10,RR@10,AP,P@5,R@100,Judged@10).",
        rich_help_panel=EVALUATION,
    ),
]
Baseline = Annotated[
    str | None,
    typer.Option(
        "--baseline",
        metavar="RUN",
        help="Compare with this run (default: the first, if there are several).",
        rich_help_panel=EVALUATION,
    ),
]
FailUnder = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-under",
        metavar="M=X",
        help="Exit 7 if the mean of M is below X, e.g. nDCG@10=0.62; repeatable.",
        rich_help_panel=EVALUATION,
    ),
]
FailOnDrop = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-on-drop",
        metavar="M=X",
        help="Exit 7 if M is more than X below --baseline, e.g. nDCG@10=0.01; repeatable.",
        rich_help_panel=EVALUATION,
    ),
]
ByQuery = Annotated[bool, typer.Option("--by-query", help="Add the values of each query.", rich_help_panel=EVALUATION)]
Worst = Annotated[
    int,
    typer.Option(
        "--worst",
        metavar="N",
        help="List the N worst queries by the first measure: most lost, else lowest.",
        rich_help_panel=EVALUATION,
    ),
]
Resamples = Annotated[
    int,
    typer.Option(
        "--resamples",
        metavar="N",
        help="Draws of the randomisation test and the bootstrap; 0: none.",
        rich_help_panel=EVALUATION,
    ),
]
Seed = Annotated[
    int,
    typer.Option("--seed", metavar="N", help="Of the draws: equal seeds, equal output.", rich_help_panel=EVALUATION),
]
Depth = Annotated[
    int | None,
    typer.Option("--depth", metavar="K", help="Look at the first K documents only.", rich_help_panel=EVALUATION),
]
RboP = Annotated[
    float,
    typer.Option("--rbo-p", metavar="P", help="Persistence of RBO, between 0 and 1.", rich_help_panel=EVALUATION),
]
Limit = Annotated[
    int,
    typer.Option("--limit", metavar="N", help="List the N most changed queries; 0: all.", rich_help_panel=EVALUATION),
]
ReportFormat = Annotated[
    str,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="table, json, csv or markdown (a CI job summary). auto: by the extension of -o, else a table.",
        rich_help_panel=OUTPUT,
    ),
]
