"""`rerank models providers`: what is known of the remote providers. Nothing is opened or sent here."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rerank_cli.cli.command import AsJson, Command
from rerank_cli.options import REMOTE, option
from rerank_cli.text import escape_line

if TYPE_CHECKING:
    from rerank_cli.cli.sources import Call
    from rerank_cli.scorers.remote.providers import Provider

SCALES = {
    "unit": "0 to 1",
    "logit": "logits",
    "model": "the model's",
    "upstream": "those of the provider behind it",
    "order": "the rank as a share",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """Which provider."""

    provider: str | None = option(
        "",
        "A provider, as before the colon of `-m` (default: all).",
        metavar="[NAME]",
        configurable=False,
        group=REMOTE,
    )


def providers(call: Call) -> int:
    """List the remote providers: key, limits, billing; with NAME all that is known of one, and an example.

    examples:
      rerank models providers
      rerank models providers cohere
      rerank models providers --json | jq -r '.[].name'
    """
    from rerank_cli.scorers.remote.providers import load_table
    from rerank_cli.writers.sections import Section, json_text, text, write_report

    table, name = load_table(), call.settings(Asked).provider
    rows = list(table.rows.values()) if name is None else table.sharing(name.removesuffix(":"))
    as_json = call.settings(AsJson).json
    if as_json:
        shown = json_text([facts_of(row) for row in rows])
    elif name is None:
        headers = ("-m", "provider", "key", "billed in", "documents per request")
        shown = text([Section("", headers, [_cells(row) for row in rows], names=5)])
    else:
        shown = "\n".join(_lines(facts_of(row)) for row in rows)
    write_report(shown, None, call.terminal, as_json=as_json)
    return 0


COMMAND = Command(providers, (Asked, AsJson))


def facts_of(row: Provider) -> dict[str, Any]:
    """What is known of a provider, under the names that are printed."""
    return {
        "name": row.id,
        "aliases": list(row.aliases),
        "title": row.title,
        "url": row.base + row.path,
        "key_variables": list(row.keys),
        "key_required": row.key_required,
        "signed_with": row.signer[0] if row.signer else None,
        "other_variables": [names[0] for names in row.variables.values()],
        "model": row.example or row.model_default,
        "documents_per_request": row.max_docs,
        "most_documents_per_request": row.hard_docs,
        "tokens_per_request": row.request_tokens,
        "bytes_per_request": row.max_body,
        "requests_per_minute": row.requests_per_minute,
        "tokens_per_minute": row.tokens_per_minute,
        "scores": SCALES[row.kind],
        "instruction": "field" if row.instruction else "query" if row.instruction_form else None,
        "rank_fields": bool(row.rank_fields),
        "billed_in": row.billing,
        "billed_by_model": dict(row.billing_models),
        "example": example_of(row),
    }


def example_of(row: Provider) -> list[str]:
    """Commands that rank with this provider: its variables, then the call."""
    variables = [names[0] for names in row.variables.values()]
    keys = row.keys[:1] if row.key_required else ()
    signed = {"aws": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "google": ("GOOGLE_APPLICATION_CREDENTIALS",)}
    keys = signed[row.signer[0]] if row.signer else keys
    unknown = "{" in row.base and not row.variables
    endpoint = f" --endpoint {row.base}" if unknown else ""
    call = f'rerank -q "refund" -m {shlex.quote(f"{row.id}:{row.example}")}{endpoint} docs.jsonl'
    return [*(f"export {name}=…" for name in (*variables, *keys)), call]


def billed_in(row: Provider) -> str:
    """The units that a provider bills, the usual one first; `–` if nothing is billed or it is not known."""
    units = [*([row.billing] if row.billing else []), *row.billing_models.values()]
    return ", ".join(dict.fromkeys(units)).replace("_", " ") or "–"


def key_of(row: Provider) -> str:
    """The variable of the key, or which credentials sign the requests."""
    key = row.keys[0] if row.keys else ""
    if row.signer:
        return " or ".join(part for part in (key, f"credentials ({row.signer[0]})") if part)
    return key if row.key_required else f"{key} (optional)"


def _cells(row: Provider) -> list[str]:
    most = f" (at most {row.hard_docs:,})" if row.hard_docs else ""
    return [f"{row.id}:{row.example}", row.title, key_of(row), billed_in(row), f"{row.max_docs:,}{most}"]


def _lines(facts: dict[str, Any]) -> str:
    """`name: value` lines without what is unknown, then the example as it is typed."""
    example = "".join(f"  {line}\n" for line in facts["example"])
    known = {name: value for name, value in facts.items() if name != "example" and value not in (None, [], {})}
    return "".join(f"{name}: {escape_line(_plain(value))}\n" for name, value in known.items()) + f"example:\n{example}"


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, dict):
        return ", ".join(f"{part} (models that match {pattern})" for pattern, part in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
