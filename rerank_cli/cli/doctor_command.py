"""`rerank doctor`: what is installed, what would run a model here and why, and whether it scores as it should."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from rerank_cli.cli import options as o
from rerank_cli.cli import scorer_options as so
from rerank_cli.cli.command import collect

if TYPE_CHECKING:
    from rerank_cli.doctor import Diagnosis
    from rerank_cli.terminal import Terminal


def doctor(
    ctx: typer.Context,
    model: so.LocalModel = "builtin",
    backend: so.Backend = "auto",
    device: so.Device = "auto",
    dtype: so.Dtype = "auto",
    threads: so.Threads = None,
    instruction: so.Instruction = None,
    offline: so.Offline = False,
    require_revision: so.RequireRevision = False,
    trust_remote_code: so.TrustRemoteCode = False,
    allow_pickle: so.AllowPickle = False,
    json: o.AsJson = False,
    verbose: o.Verbose = 0,
    quiet: o.Quiet = False,
) -> int:
    """Check this installation and a model; exit 4 if something is wrong.

    examples:
      rerank doctor
      rerank doctor -m Qwen/Qwen3-Reranker-0.6B
      rerank doctor -m ./my-model --backend openvino --json
    """
    return run(collect(ctx, locals()), ctx.obj)


def run(options: dict[str, Any], terminal: Terminal) -> int:
    """Examine, print, and say by the exit code whether all is well."""
    from rerank_cli.cli.main import configure
    from rerank_cli.cli.translate import local_model_of
    from rerank_cli.doctor import examine
    from rerank_cli.errors import ExitCode
    from rerank_cli.report import Report
    from rerank_cli.writers.sections import json_text, write_report

    terminal = configure(terminal, verbose=options["verbose"], quiet=options["quiet"])
    hint = "score two documents to try an endpoint, or `--dry-run`"
    settings = local_model_of(options, "`doctor` checks local models", hint)
    report = Report()
    found = examine(settings, report)
    for note in report.notes:
        terminal.note(note)
    shown = json_text(as_record(found)) if options["json"] else as_text(found)
    write_report(shown, None, terminal, as_json=options["json"])
    return ExitCode.OK if found.healthy else ExitCode.MODEL


def as_record(found: Diagnosis) -> dict[str, Any]:
    """The diagnosis as JSON has it."""
    return {"healthy": found.healthy, **found.info, "checks": [check._asdict() for check in found.checks]}


def as_text(found: Diagnosis) -> str:
    """ScorerInfo by section, then a line for each check; words carry the meaning, not colours."""
    lines = []
    for section, facts in found.info.items():
        lines.append(section)
        lines += [f"  {name}: {_plain(value)}" for name, value in facts.items()]
    lines.append("checks")
    lines += [f"  {'ok' if check.passed else 'FAILED'} {check.name}: {check.detail}" for check in found.checks]
    return "\n".join(lines) + "\n"


def _plain(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value)
