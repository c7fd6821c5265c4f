"""`rerank doctor`: what is installed, what would run a model here and why, and whether it scores as it should."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerank_cli.cli.command import AsJson, Command
from rerank_cli.cli.rules import LOCAL_ONLY, local_model_of
from rerank_cli.settings import ModelSettings
from rerank_cli.text import escape_line

if TYPE_CHECKING:
    from rerank_cli.cli.sources import Call
    from rerank_cli.doctor import Diagnosis


def doctor(call: Call) -> int:
    """Check this installation and a model; exit 4 if something is wrong.

    examples:
      rerank doctor
      rerank doctor -m Qwen/Qwen3-Reranker-0.6B
      rerank doctor -m ./my-model --backend openvino --json
    """
    from rerank_cli.doctor import examine
    from rerank_cli.errors import ExitCode
    from rerank_cli.report import Report
    from rerank_cli.writers.sections import json_text, write_report

    terminal = call.terminal
    hint = "score two documents to try an endpoint, or `--dry-run`"
    settings = local_model_of(call, "`doctor` checks local models", hint)
    as_json = call.settings(AsJson).json
    report = Report()
    found = examine(settings, report)
    for note in report.notes:
        terminal.note(note)
    record = {"healthy": found.healthy, **found.info, "checks": [check._asdict() for check in found.checks]}
    shown = json_text(record) if as_json else as_text(found)
    write_report(shown, None, terminal, as_json=as_json)
    return ExitCode.OK if found.healthy else ExitCode.MODEL


COMMAND = Command(doctor, (ModelSettings, AsJson), **LOCAL_ONLY)


def as_text(found: Diagnosis) -> str:
    """Facts by section, a line for each check, then the result; words carry the meaning, not colours."""
    lines = []
    for section, facts in found.info.items():
        lines.append(section)
        lines += [f"  {name}: {_plain(value)}" for name, value in facts.items()]
    lines.append("checks")
    lines += [f"  {'ok' if check.passed else 'FAILED'} {check.name}: {check.detail}" for check in found.checks]
    failed, count = [check.name for check in found.checks if not check.passed], len(found.checks)
    result = f"{len(failed)} of {count} checks FAILED: {', '.join(failed)}" if failed else f"all {count} checks passed"
    lines.append(f"result: {result}")
    return "\n".join(map(escape_line, lines)) + "\n"


def _plain(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value)
