"""Processes that share one cache file lose and damage nothing, even when they are killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

from rerank_cli import cache


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "cache.sqlite"


# --- many processes -------------------------------------------------------------------------------------------------

WORKER = """
import random, sys
from pathlib import Path
from rerank_cli.cache import ScoreCache
from rerank_cli.records import Score
from rerank_cli.report import Report
path, seed, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
dice = random.Random(seed)
def key(number): return random.Random(number).randbytes(16)
def score(number): return Score(number / 7, number, 1, (0, number), number % 2 == 0)
report = Report()
for turn in range(rounds):
    cache = ScoreCache(path, report)
    wanted = [dice.randrange(3000) for _ in range(400)]
    names = {key(number): number for number in wanted}
    found = cache.get(list(names))
    wrong = [names[name] for name in found if found[name] != score(names[name])]
    if wrong: sys.exit(f"wrong: {wrong[:3]}")
    cache.put({name: score(number) for name, number in names.items() if name not in found})
    lost = set(names) - set(cache.get(list(names)))
    if lost: sys.exit(f"lost: {len(lost)}")
    cache.close()
    print(turn, flush=True)
if report.warnings(): sys.exit(f"warned: {report.warnings()}")
"""


def start(path, seed, rounds):
    arguments = [sys.executable, "-c", WORKER, str(path), str(seed), str(rounds)]
    return subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_four_processes_on_one_cache_lose_nothing(path):
    workers = [start(path, seed, 12) for seed in range(4)]
    ends = [worker.communicate(timeout=100) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4, ends
    checked = cache.verify(path)
    assert (checked.damaged, checked.problems) == (0, ())
    assert 2900 <= checked.rows <= 3000


def test_a_killed_process_leaves_no_partial_rows(path):
    dice = random.Random(8)
    for seed in range(4):
        worker = start(path, seed, 10_000)
        for _ in range(dice.randrange(1, 4)):
            worker.stdout.readline()
        time.sleep(dice.random() * 0.02)  # anywhere within a round
        worker.send_signal(signal.SIGKILL)
        worker.communicate(timeout=60)
        checked = cache.verify(path)
        assert (checked.damaged, checked.problems) == (0, ())
    last = start(path, 9, 2)
    assert last.communicate(timeout=60)[1] == ""
    assert last.returncode == 0
