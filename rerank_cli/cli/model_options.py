"""Options of `models` and `doctor`, declared once; tables of choices are in `options`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rerank_cli.cli.option_rules import MODEL, OUTPUT

ModelsAction = Annotated[
    str,
    typer.Argument(
        metavar="ACTION",
        help="list: built in, cached and converted; show: the facts of one; pull: download; verify: compare files with "
        "their digests; convert: make ONNX or OpenVINO of a torch checkpoint.",
    ),
]
ModelName = Annotated[
    str | None, typer.Argument(metavar="[MODEL]", help="builtin, a Hugging Face name or a folder (./path).")
]
CopyFolder = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FOLDER",
        help="convert: where the copy goes (default: our cache, where `-m` finds it by itself).",
        rich_help_panel=OUTPUT,
    ),
]
Form = Annotated[
    list[str] | None,
    typer.Option(
        "--form",
        metavar="FORM",
        help="convert: fp32 (ONNX), int8 (ONNX, 8-bit products per token) or openvino; repeatable (default: fp32).",
        rich_help_panel=MODEL,
    ),
]
