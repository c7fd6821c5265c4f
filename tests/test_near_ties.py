"""No page of docs/ depends on a near tie or on one processor: each is run with the embedded model's logits shifted.

`python -m pytest tests/test_near_ties.py -rP` also lists near ties that no output shows.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT, SAMPLES
from doc_pages import PAGES, SHIFTED_LOGITS, missing_program, run_page
from similar_output import same

WAYS = ["worst", "1", *[pytest.param(seed, marks=pytest.mark.slow) for seed in ("2", "3")]]
ROWS = [(2.0, "a"), (1.0, "b"), (0.9, "c"), (-1.0, "d"), (-1.1, "e"), (-1.1, "E")]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("moved", WAYS)
@pytest.mark.parametrize("name", PAGES)
def test_page_with_shifted_logits(name: str, moved: str, tmp_path: Path) -> None:
    """`worst` swaps every pair of neighbours that is too close; the others are seeds."""
    if program := missing_program(name):
        pytest.skip(f"{program} is not installed")
    found = run_page(name, tmp_path, moved)
    print("\n".join(found.ties))
    assert not found.failed + found.wrong, "\n".join(found.failed + found.wrong)


# --- what the pages are judged with


@pytest.fixture(scope="module")
def mover() -> ModuleType:
    spec = importlib.util.spec_from_file_location("moved", SHIFTED_LOGITS / "sitecustomize.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("top_n", "threshold", "ranks"),
    [
        (None, None, [2, 4]),
        (1, None, []),
        (2, None, [2]),  # the third is not shown, but it may be
        (3, None, [2]),
        (None, 0.95, [2, 3]),  # both are near the threshold
        (None, -0.9, [2, 4]),  # the fourth is below it, but may come above
    ],
)
def test_only_visible_near_ties_are_reported(
    mover: ModuleType, top_n: int | None, threshold: float | None, ranks: list[int]
) -> None:
    assert sorted({tie.rank for tie in mover.near_ties(ROWS, top_n, threshold)}) == ranks


def test_worst_swaps_near_ties_and_nothing_else(mover: ModuleType) -> None:
    values = dict(ROWS)
    moved = mover.worst(list(values), mover.near_ties(ROWS, None, None))
    assert "".join(values[value] for value in sorted(moved, key=moved.__getitem__, reverse=True)) == "acbEd"
    assert max(abs(value - moved[value]) for value in values) <= 0.08


def test_shifted_logits_reach_a_process_and_only_the_embedded_model(process) -> None:
    texts = "bread\nWashington is the capital\n"
    argv = ("-q", "capital", "--keep-order", "--raw-scores", "-f", "tsv")
    path = f"{SHIFTED_LOGITS}:{ROOT}"
    plain, moved, again = (
        [float(line.split("\t")[1]) for line in process(*argv, stdin=texts, env=env).lines]
        for env in ({}, *[{"SHIFTED_LOGITS": "5", "PYTHONPATH": path}] * 2)
    )
    assert moved == again
    assert [abs(a - b) for a, b in zip(plain, moved, strict=True)] == pytest.approx([0.06, 0.06])


def test_near_ties_of_a_process_are_reported(process, tmp_path: Path) -> None:
    env = {"NEAR_TIES": str(tmp_path / "ties"), "PYTHONPATH": f"{SHIFTED_LOGITS}:{ROOT}"}
    texts = (SAMPLES / "commands.txt").read_bytes()  # twenty-two commands, most of them equally far from the query
    assert process("-q", "disk is full", stdin=texts, env=env).code == 0
    told = [json.loads(line) for line in (tmp_path / "ties").read_text().splitlines()]
    assert told
    assert all(0 < tie["apart"] < 0.15 for tie in told)


@pytest.mark.parametrize(
    ("wanted", "got", "command", "equal"),
    [
        ("1\t0.5\n", "1\t0.52\n", "", True),
        ("1\t0.5000\n", "1\t0.5500\n", "", False),
        ("0.9500", "0.9540", "", True),
        ("0.95002431", "0.965", "", False),
        ("0.000736571383", "0.0007", "", True),
        ("0.001000", "8.95e-04", "", True),
        ("0.001000", "0.0007", "", False),
        ("0.00 du", "0.01 du", "", True),
        ("0.00 du", "0.02 du", "", False),
        ("rank 1, 0.5", "rank 2, 0.5", "", False),
        ('{"price": 1.10}', '{"price": 1.11}', "", False),
        ("2.11", "2.05", "rerank --raw-scores", True),
        ("2.11", "1.8", "rerank --raw-scores", False),
        ("nDCG@10 0.6309", "nDCG@10 0.6310", "rerank eval", False),
        ("1  0.8842  ███████▏  a", "1  0.8900  ███████   a", "", True),
        ("1  0.8842  ███████▏  a", "1  0.8842  ██████    a", "", False),
        ("1  0.0292            a", "1  0.0292            b", "", False),
    ],
)
def test_scores_may_differ_a_little_and_nothing_else(wanted: str, got: str, command: str, equal: bool) -> None:
    assert same(wanted, got, command) is equal
    assert same(got, wanted, command) is equal
