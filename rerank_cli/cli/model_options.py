"""Options of `models`, declared once; choices are in option_rules.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rerank_cli.cli.option_rules import MODEL, OUTPUT

ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="builtin, a Hugging Face name or a folder (./path).")]
CopyFolder = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FOLDER",
        help="Where the copy goes (default: our cache, where `-m` finds it by itself).",
        rich_help_panel=OUTPUT,
    ),
]
Form = Annotated[
    list[str] | None,
    typer.Option(
        "--form",
        metavar="FORM",
        help="fp32 (ONNX), int8 (ONNX, 8-bit products per token) or openvino; repeatable (default: fp32).",
        rich_help_panel=MODEL,
    ),
]
