"""`rerank models known`: rerankers that people name after `-m`, and whether they run here. Nothing is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerank_cli.cli.command import AsJson

if TYPE_CHECKING:
    from rerank_cli.cli.sources import Call

HEADERS = ("model", "parameters", "languages", "license", "family", "tokens", "status")


def list_known(call: Call) -> int:
    """List known rerankers: size, languages, licence, family, and whether they work here.

    examples:
      rerank models known
      rerank models known --json | jq -r '.[] | .name + ": " + .verdict'
    """
    from rerank_cli.models.known import known
    from rerank_cli.writers.sections import Section, json_text, text, write_report

    as_json = call.settings(AsJson).json
    if as_json:
        shown = json_text([row._asdict() | {"verdict": row.verdict} for row in known()])
    else:
        refused = [row for row in known() if row.status == "refused"]
        cells = [[*row.cells(), "refused" if row in refused else row.verdict] for row in known()]
        shown = text([Section("", HEADERS, cells, names=len(HEADERS))])
        shown += "\nshould work: models of this family are tested, but these weights were not run\n"
        shown += "".join(f"{row.name}: {row.verdict}\n" for row in refused)
    write_report(shown, None, call.terminal, as_json=as_json)
    return 0
