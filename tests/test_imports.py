"""What help, completion and errors load, and which module may import which.

Both the imports as written and the modules as loaded are checked, because each shows what the other misses.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from fnmatch import fnmatchcase
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from conftest import ROOT

from rerank_cli.cli.app import COMMANDS

PACKAGE = ROOT / "rerank_cli"

# From numpy upwards: nothing that help or a typo needs.
HEAVY = {
    "numpy", "tokenizers", "onnxruntime", "openvino", "torch", "transformers", "safetensors", "onnx", "httpx2", "httpx",
    "stamina", "huggingface_hub", "rich", "pydantic", "starlette", "uvicorn", "prometheus_client", "ray", "mcp", "pytrec_eval",
    "pyarrow", "botocore", "google", "yaml", "orjson", "sqlite3", "asyncio", "click", "platformdirs", "tomllib", "email", "ssl",
}  # fmt: skip
# Cheap enough for the top of a module that is itself loaded late.
AT_THE_TOP = {"yaml", "orjson", "ssl", "sqlite3", "asyncio", "email", "click"}
# Package -> where it may be imported: one module or one family of modules (torch also where graphs are made).
TORCH = {"scorers/torch_*.py", "convert/*.py"}
HOMES = {
    "onnxruntime": {"scorers/onnx.py"},
    "openvino": {"scorers/openvino_engine.py", "convert/*.py"},
    "torch": TORCH,
    "transformers": TORCH,
    "safetensors": TORCH,
    "onnx": {"convert/*.py"},
    "httpx2": {"scorers/remote/*.py"},
    "stamina": {"scorers/remote/*.py"},
    "botocore": {"scorers/remote/signers.py"},
    "google": {"scorers/remote/signers.py"},
    "huggingface_hub": {"hub.py", "models/hub_errors.py"},
    "starlette": {"server/*.py"},
    "uvicorn": {"server/*.py"},
    "prometheus_client": {"server/*.py"},
    "mcp": {"mcp_server.py"},
    "pydantic": {"mcp_server.py"},
    "ray": {"distributed.py", "distributed/*.py"},
    "pytrec_eval": {"evaluation/*.py"},
    "pyarrow": {"readers/*.py", "writers/*.py", "batch/*.py", "distributed.py", "distributed/*.py"},
}
FRONT = {"terminal.py", "writers/*", "cli/*"}  # who may know Typer or Rich
# Bottom to top: a module imports from its own layer and from those below it, whether at its top, in a function or for
# type checkers only. `rerank_cli` is the package itself, which offers the public API.
LAYERS = (
    {
        "version",
        "errors",
        "model_settings",
        "nesting",
        "stage_settings",
        "options",
        "records",
        "report",
        "settings",
        "text",
        "paths",
        "ids",
    },
    {
        "files",
        "lookup",
        "sync",
        "descriptors",
        "inside",
        "owned",
        "compression",
        "key_files",
        "net",
        "billing",
        "terminal",
        "cpu",
        "language",
        "windows",
        "ranking",
        "rows",
        "rendering",
        "sentences",
        "request",
        "hits",
        "member_words",
        "cache_file",
        "builtin",
    },
    {"fields", "field_hints", "absence", "config", "cache"},
    {"readers", "writers", "models", "hub", "stages"},
    {"scorers"},
    {"highlighting", "scoring"},
    {"prefilter", "stage_checks"},
    {"pipeline", "convert", "doctor", "evaluation"},
    {"batch", "server", "api", "mcp_server", "mcp_input"},
    {"distributed"},
    {"cli", "__main__", "rerank_cli"},
)
LOADED = """
import json, sys
from rerank_cli.cli.main import main
from rerank_cli.terminal import Terminal
code = main(sys.argv[1:], Terminal.of_process())
print(json.dumps([int(code), sorted({name.partition(".")[0] for name in sys.modules})]), file=sys.stderr)
"""


def loaded(*argv: str, stdin: bytes = b"", script: str = LOADED) -> tuple[int, set[str]]:
    """Exit code and top-level modules of a fresh process that runs one command line."""
    done = subprocess.run(
        [sys.executable, "-c", script, *argv],
        input=stdin,
        capture_output=True,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"},
        timeout=60,
        check=True,
    )
    code, modules = json.loads(done.stderr.decode().splitlines()[-1])
    return code, set(modules)


LIGHT = {
    "short help": (("-h",), 0),
    "whole help": (("--help",), 0),
    "no arguments, nothing on stdin": (("rank",), 2),
    "unknown option": (("--nope",), 2),
    "unknown format": (("-q", "x", "-f", "jsnl"), 2),
    "a number that is none": (("-q", "x", "-n", "five"), 2),
    "configuration": (("config",), 0),
    **{f"{name} -h": ((name, "-h"), 0) for name in COMMANDS},
    **{f"{name} --help": ((name, "--help"), 0) for name in COMMANDS},
}


@pytest.mark.parametrize(("argv", "code"), LIGHT.values(), ids=LIGHT)
def test_help_and_errors_load_nothing_heavy(argv: tuple[str, ...], code: int) -> None:
    got, modules = loaded(*argv)
    assert got == code
    assert not modules & HEAVY, f"loaded by {argv}"


def test_version_reads_metadata_and_loads_no_backend() -> None:
    _, modules = loaded("--version")
    assert not modules & (HEAVY - {"email"})


def test_importing_the_package_loads_nothing_heavy() -> None:
    script = "import json, sys; import rerank_cli; print(json.dumps([0, [n.partition('.')[0] for n in sys.modules]]), file=sys.stderr)"
    _, modules = loaded(script=script)
    assert not modules & (HEAVY | {"typer"})


def test_the_embedded_model_needs_neither_torch_nor_the_network() -> None:
    code, modules = loaded("-q", "capital", "-f", "jsonl", stdin=b"Paris is the capital of France.\nCats sleep.\n")
    assert code == 0
    assert {"numpy", "tokenizers", "onnxruntime"} <= modules
    assert not modules & (HEAVY - {"numpy", "tokenizers", "onnxruntime", "orjson", "email"})


def imports(path: Path) -> list[tuple[str, bool]]:
    """(module, is it inside a function) of each import that is executed; type-checking blocks are not."""
    found: list[tuple[str, bool]] = []

    def walk(node: ast.AST, inside: bool) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            found.extend((alias.name, inside) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            found.append((node.module or "", inside))
        inside = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            walk(child, inside)

    walk(ast.parse(path.read_text()), inside=False)
    return found


MODULES = {path.relative_to(PACKAGE).as_posix(): imports(path) for path in sorted(PACKAGE.rglob("*.py"))}


def within(module: str, homes: set[str]) -> bool:
    """Whether a module is one of the homes; `*` reaches into folders."""
    return any(fnmatchcase(module, home) for home in homes)


@pytest.mark.parametrize("name", ["errors.py", "records.py"])
def test_errors_and_records_import_only_the_standard_library(name: str) -> None:
    assert {module.partition(".")[0] for module, _ in MODULES[name]} <= sys.stdlib_module_names


def test_only_the_command_line_and_the_writers_import_typer_and_rich() -> None:
    wrong = [
        (name, module)
        for name, found in MODULES.items()
        for module, _ in found
        if module.partition(".")[0] in {"typer", "rich", "click"} and not within(name, FRONT)
    ]
    assert wrong == []


def test_the_core_does_not_import_the_command_line() -> None:
    """Only `cli` and the entry points import `cli`; scorers, readers and writers never do."""
    wrong = [
        name
        for name, found in MODULES.items()
        for module, _ in found
        if module.startswith("rerank_cli.cli") and not within(name, {"cli/*", "__main__.py"})
    ]
    assert wrong == []


def test_the_package_does_not_import_what_the_wheel_leaves_out() -> None:
    outside = {"tools", "tests", "benchmarks", "training"}
    wrong = [
        (name, module) for name, found in MODULES.items() for module, _ in found if module.split(".")[0] in outside
    ]
    assert wrong == []


def dotted(name: str) -> str:
    """`scorers/onnx.py` as it is imported."""
    return "rerank_cli." + name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def test_heavy_packages_are_imported_late() -> None:
    """Inside functions; or at the top of a module of the package's home that others import inside functions only."""
    for name, found in MODULES.items():
        heavy = {module.partition(".")[0] for module, inside in found if not inside} & (HEAVY - AT_THE_TOP)
        for package in heavy:
            assert within(name, HOMES.get(package, set())), f"{name} imports {package} at its top"
            early = [
                other
                for other, theirs in MODULES.items()
                for module, inside in theirs
                if module == dotted(name) and not inside and not within(other, HOMES[package])
            ]
            assert not early, f"{name} imports {package} at its top and is imported at the top of {early}"


def named(path: Path, known: set[str]) -> set[str]:
    """The modules of the package that a module names in any of its imports, those for type checkers included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else str(node.module) for name in whole}
    return found & known


PATHS = {dotted(name): PACKAGE / name for name in MODULES}
PATHS["rerank_cli"] = PATHS.pop("rerank_cli.__init__")
GRAPH = {name: named(path, set(PATHS)) - {name} for name, path in PATHS.items()}


def circle(graph: dict[str, set[str]]) -> list[str]:
    """The modules of a circle of imports, in order; none if there is no circle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def part_of(module: str) -> str:
    """The first part of a module's name within the package."""
    return module.removeprefix("rerank_cli.").partition(".")[0]


def layer(module: str) -> int:
    return next(number for number, parts in enumerate(LAYERS) if part_of(module) in parts)


def test_modules_form_no_circle() -> None:
    """Type-only imports count: a circle of them is two modules that cannot be understood one without the other."""
    assert circle(GRAPH) == []


def test_no_module_imports_upwards() -> None:
    wrong = [(name, other) for name, others in GRAPH.items() for other in others if layer(other) > layer(name)]
    assert wrong == []


def test_every_part_of_the_package_has_one_layer() -> None:
    parts = [part for parts in LAYERS for part in parts]
    assert sorted(parts) == sorted({part_of(name) for name in GRAPH})


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"rerank_cli.settings": {"rerank_cli.scorers.base"}}, True),  # as it was once, for type checkers only
        ({"rerank_cli.scorers.base": {"rerank_cli.settings"}}, False),
    ],
)
def test_a_circle_would_be_detected(change: dict[str, set[str]], found: bool) -> None:
    changed = {name: others | change.get(name, set()) for name, others in GRAPH.items()}
    assert bool(circle(changed)) is found


@pytest.mark.parametrize("package", HOMES)
def test_each_heavy_package_has_one_home(package: str) -> None:
    users = {name for name, found in MODULES.items() if package in {module.partition(".")[0] for module, _ in found}}
    assert {name for name in users if not within(name, HOMES[package])} == set()


def test_nothing_imports_click_or_requests() -> None:
    """Typer brings a Click of its own: an error of the other one would end as a traceback."""
    assert not [name for name, found in MODULES.items() for module, _ in found if module in {"click", "requests"}]
