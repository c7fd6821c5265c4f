"""docs/environment.md names every variable that the package reads or sets, and none that it does not."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from conftest import ROOT

from rerank_cli.scorers.remote.providers import load_table

PAGE = (ROOT / "docs" / "environment.md").read_text("utf-8")
SECTIONS = dict(part.split("\n", 1) for part in PAGE.split("\n## ")[1:])
NAME = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+|HOME|TERM|LANG|COLUMNS")


def names_in(text: str) -> set[str]:
    return set(re.findall(r"`([A-Z][A-Z0-9_]+)`", text))


def of_environment(node: ast.AST) -> bool:
    """Whether an expression is the environment: `os.environ`, `env`, `self.env`, `self._env`."""
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name in {"environ", "env", "_env", "getenv"}


def read_by(path: Path) -> set[str]:
    """Constants that look like a variable, in each function that touches the environment.

    A whole function counts, because names may stand in a tuple that a loop reads.
    """
    found = set()
    for function in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(function, ast.FunctionDef) and any(map(of_environment, ast.walk(function))):
            constants = (node.value for node in ast.walk(function) if isinstance(node, ast.Constant))
            found |= {value for value in constants if isinstance(value, str) and NAME.fullmatch(value)}
    return found


def test_every_variable_that_is_read_is_on_the_page():
    read = set[str]().union(*map(read_by, (ROOT / "rerank_cli").rglob("*.py")))
    assert {"NO_COLOR", "HF_HOME", "ALL_PROXY", "SSL_CERT_DIR", "RERANK_CACHE_DIR", "RAY_AUTH_TOKEN"} <= read
    assert not read - names_in(PAGE)


def test_every_variable_of_a_provider_is_on_the_page():
    section = names_in(SECTIONS["Keys and addresses of providers"])
    for row in load_table().rows.values():
        assert section.issuperset(row.keys), row.id
        assert section.issuperset(name for names in row.variables.values() for name in names), row.id


def test_what_is_not_read_is_not_in_the_sources():
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "rerank_cli").rglob("*.py"))
    rows = re.findall(r"(?m)^\| (`.*?) \|", SECTIONS["Not read"])
    for name in names_in("".join(rows)):
        assert f'"{name}"' not in sources, name
