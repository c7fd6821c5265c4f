"""Options that only `serve` has; the rest are `options`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rerank_cli.cli.option_rules import SERVER

Host = Annotated[
    str,
    typer.Option("--host", metavar="ADDRESS", help="Listen here; 0.0.0.0 is everywhere.", rich_help_panel=SERVER),
]
Port = Annotated[
    int, typer.Option("--port", metavar="N", help="Listen on this port; 0 takes a free one.", rich_help_panel=SERVER)
]
KeysFile = Annotated[
    Path | None,
    typer.Option("--keys-file", metavar="FILE", help="Keys that clients may send, one a line.", rich_help_panel=SERVER),
]
KeysEnv = Annotated[
    str | None,
    typer.Option(
        "--keys-env", metavar="NAME", help="Variable with such keys, separated by blanks.", rich_help_panel=SERVER
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict", help="Refuse unknown fields (422) and models (404) as Cohere does.", rich_help_panel=SERVER
    ),
]
ServedName = Annotated[
    list[str] | None,
    typer.Option(
        "--served-name", metavar="NAME", help="What clients may call the model; repeatable.", rich_help_panel=SERVER
    ),
]
MaxBody = Annotated[
    int, typer.Option("--max-body", metavar="BYTES", help="Largest request body (413).", rich_help_panel=SERVER)
]
MaxDocuments = Annotated[
    int,
    typer.Option(
        "--max-documents", metavar="N", help="Documents a request must stay below this (400).", rich_help_panel=SERVER
    ),
]
MaxQuery = Annotated[
    int, typer.Option("--max-query", metavar="CHARS", help="Longest query (422).", rich_help_panel=SERVER)
]
MaxDocument = Annotated[
    int, typer.Option("--max-document", metavar="CHARS", help="Longest document (422).", rich_help_panel=SERVER)
]
MaxQueue = Annotated[
    int,
    typer.Option("--max-queue", metavar="N", help="Requests accepted at a time; more get 429.", rich_help_panel=SERVER),
]
RequestTimeout = Annotated[
    float,
    typer.Option("--request-timeout", metavar="S", help="Seconds until a request gets 504.", rich_help_panel=SERVER),
]
AccessLog = Annotated[
    bool,
    typer.Option(
        "--access-log/--no-access-log",
        help="One line a request on stderr, without texts; none with --no-access-log.",
        rich_help_panel=SERVER,
    ),
]
