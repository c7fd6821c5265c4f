"""Packages of extras that are not installed: one exit code (docs/exit-codes.md), and the command that installs them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

NEEDS = {
    "serve": ("starlette", "serve", ("serve", "--port", "0")),
    "mcp": ("mcp", "mcp", ("mcp",)),
    "eval": ("pytrec_eval", "eval", ("eval", "--qrels", "qrels", "run.trec")),
    "parquet": ("pyarrow", "parquet", ("-q", "q", "docs.parquet")),
    "ray": ("ray", "ray", ("batch", "in.jsonl", "--engine", "ray", "--out-dir", "outs")),
    "aws": ("botocore.auth", "aws", ("-q", "q", "-m", "bedrock:x", "docs.txt")),
}


@pytest.mark.parametrize(("module", "extra", "argv"), NEEDS.values(), ids=NEEDS)
def test_a_missing_extra_has_one_exit_code(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, extra: str, argv: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "qrels").write_text("q1 0 a 1\n")
    (tmp_path / "run.trec").write_text("q1 Q0 a 1 2 t\n")
    (tmp_path / "docs.parquet").write_bytes(b"PAR1" + bytes(20) + b"PAR1")
    (tmp_path / "docs.txt").write_text("a\nb\n")
    (tmp_path / "in.jsonl").write_text('{"id": "x", "query": "q", "documents": ["a", "b"]}\n')
    for part in {module, module.partition(".")[0]}:
        monkeypatch.setitem(sys.modules, part, None)
    result = run(*argv, env={"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"})
    assert (result.code, result.out) == (4, b""), result.err
    assert f"pip install 'rerank-cli[{extra}]'" in result.err
