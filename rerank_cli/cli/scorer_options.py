"""Options of what scores: the model and its backend, remote endpoints, the score cache.

Shared by rank, batch, serve and doctor. Nothing is parsed or run here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rerank_cli.cli.option_rules import CACHE, MODEL, REMOTE

Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="builtin, a Hugging Face name (owner/name[@revision]), a folder (./path), provider:model "
        "(cohere:rerank-v3.5) or a named endpoint.",
        rich_help_panel=MODEL,
    ),
]
LocalModel = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="builtin, a Hugging Face name (owner/name[@revision]) or a folder (./path).",
        rich_help_panel=MODEL,
    ),
]
Backend = Annotated[
    str,
    typer.Option("--backend", metavar="NAME", help="auto, onnx, openvino or torch.", rich_help_panel=MODEL),
]
Device = Annotated[
    str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:N.", rich_help_panel=MODEL)
]
Dtype = Annotated[
    str, typer.Option("--dtype", metavar="TYPE", help="auto, fp32, bf16, fp16 or int8.", rich_help_panel=MODEL)
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads", metavar="N", help="CPU threads (default: what this container may use).", rich_help_panel=MODEL
    ),
]
Instruction = Annotated[
    str | None,
    typer.Option("--instruction", metavar="TEXT", help="Task for rerankers that take one.", rich_help_panel=MODEL),
]
Offline = Annotated[
    bool, typer.Option("--offline", help="Never use the network; name what is missing.", rich_help_panel=MODEL)
]
RequireRevision = Annotated[
    bool,
    typer.Option("--require-revision", help="Refuse a hub model without a pinned revision.", rich_help_panel=MODEL),
]
TrustRemoteCode = Annotated[
    bool,
    typer.Option("--trust-remote-code", help="Run code of a model with a pinned revision.", rich_help_panel=MODEL),
]
AllowPickle = Annotated[
    bool, typer.Option("--allow-pickle", help="Load .bin weights, which can run code.", rich_help_panel=MODEL)
]
Endpoint = Annotated[
    str | None, typer.Option("--endpoint", metavar="URL", help="Where the provider listens.", rich_help_panel=REMOTE)
]
ApiKeyEnv = Annotated[
    str | None,
    typer.Option(
        "--api-key-env",
        metavar="NAME",
        help="Variable with the key (default: the provider's own, as CO_API_KEY).",
        rich_help_panel=REMOTE,
    ),
]
ApiKeyFile = Annotated[
    Path | None,
    typer.Option("--api-key-file", metavar="FILE", help="File that holds the key.", rich_help_panel=REMOTE),
]
AuthHeader = Annotated[
    str | None,
    typer.Option("--auth-header", metavar="NAME", help="Send the key in this header.", rich_help_panel=REMOTE),
]
ClientName = Annotated[
    str | None, typer.Option("--client-name", metavar="NAME", help="X-Client-Name.", rich_help_panel=REMOTE)
]
Header = Annotated[
    list[str] | None,
    typer.Option(
        "--header",
        metavar="'X: V'",
        help="Extra header; `X: @env:NAME` for secrets; repeatable.",
        rich_help_panel=REMOTE,
    ),
]
Extra = Annotated[
    str | None,
    typer.Option("--extra", metavar="JSON", help="Members added to the request body.", rich_help_panel=REMOTE),
]
BatchDocs = Annotated[
    int | None, typer.Option("--batch-docs", metavar="N", help="Documents a request.", rich_help_panel=REMOTE)
]
Concurrency = Annotated[
    int, typer.Option("--concurrency", metavar="N", help="Requests at a time.", rich_help_panel=REMOTE)
]
Timeout = Annotated[
    float, typer.Option("--timeout", metavar="S", help="Seconds a request may take.", rich_help_panel=REMOTE)
]
Retries = Annotated[
    int, typer.Option("--retries", metavar="N", help="Attempts after the first.", rich_help_panel=REMOTE)
]
MaxWait = Annotated[
    float,
    typer.Option("--max-wait", metavar="S", help="Longest wait that a provider may ask for.", rich_help_panel=REMOTE),
]
RequestsPerMinute = Annotated[
    int | None,
    typer.Option("--requests-per-minute", metavar="N", help="Client-side limit.", rich_help_panel=REMOTE),
]
TokensPerMinute = Annotated[
    int | None, typer.Option("--tokens-per-minute", metavar="N", help="Client-side limit.", rich_help_panel=REMOTE)
]
MaxUnits = Annotated[
    int | None,
    typer.Option("--max-units", metavar="N", help="Refuse to bill more search units.", rich_help_panel=REMOTE),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print requests, tokens and units, send nothing.", rich_help_panel=REMOTE)
]
AllowSplit = Annotated[
    bool, typer.Option("--allow-split", help="Split requests of listwise models.", rich_help_panel=REMOTE)
]
NativeRankFields = Annotated[
    bool,
    typer.Option("--native-rank-fields", help="Let the provider choose the fields.", rich_help_panel=REMOTE),
]
CaBundle = Annotated[
    Path | None, typer.Option("--ca-bundle", metavar="FILE", help="Trust these certificates.", rich_help_panel=REMOTE)
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Do not check certificates (said each time).", rich_help_panel=REMOTE)
]
Cache = Annotated[
    bool,
    typer.Option("--cache/--no-cache", help="Keep scores and look them up before scoring.", rich_help_panel=CACHE),
]
CachePath = Annotated[
    Path | None,
    typer.Option("--cache-path", metavar="FILE", help="The cache file (default: the user's).", rich_help_panel=CACHE),
]
CacheMode = Annotated[
    str,
    typer.Option("--cache-mode", metavar="MODE", help="rw, or ro: read only (CI).", rich_help_panel=CACHE),
]
