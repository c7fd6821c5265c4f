"""Writes the overview table of docs/providers/README.md from the providers: `python tests/remote/overview.py`."""

from __future__ import annotations

import re
from pathlib import Path

from rerank_cli.cli.providers_command import SCALES, billed_in, key_of
from rerank_cli.scorers.remote.providers import Provider, load_table

PAGE = Path(__file__).resolve().parents[2] / "docs/providers/README.md"
START, END = "<!-- generated: providers -->", "<!-- end generated -->"
PROMISED = {
    "cohere-v2": "cohere", "cohere-v1": "cohere", "azure-serverless": "azure", "azure-foundry": "azure", "jina": "jina",
    "voyage": "voyage", "bedrock": "bedrock", "bedrock-invoke": "bedrock", "vertex": "vertex",
    "cloudflare": "cloudflare", "nebius": "gateways", "openrouter": "gateways", "vercel": "gateways", "deepinfra": "gateways", "baseten": "gateways",
    "tei": "tei", "vllm": "vllm", "litellm": "litellm", "new-api": "new-api", "chat": "chat", "openai-decisions": "chat",
}  # fmt: skip


def table() -> str:
    head = [
        "| `-m` | provider | default URL | key | documents per request | scores | billed in |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join(head + [line(row) for row in load_table().rows.values()])


def line(row: Provider) -> str:
    names = "<br>".join(f"`{name}:`" for name in (row.id, *row.aliases))
    title = f"[{row.title}]({PROMISED[row.id]}.md)" if row.id in PROMISED else row.title
    key = re.sub(r"\b([A-Z_]+)\b", r"`\1`", key_of(row))
    most = f"{row.max_docs:,}" + (f" (at most {row.hard_docs:,})" if row.hard_docs else "")
    return f"| {names} | {title} | `{row.base}{row.path}` | {key} | {most} | {SCALES[row.kind]} | {billed_in(row)} |"


def rewritten(text: str) -> str:
    before, _, rest = text.partition(START)
    return f"{before}{START}\n{table()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text()))
