"""The number of threads respects the CPU quotas of containers, in fake cgroup trees of both versions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rerank_cli import cpu


@pytest.fixture(autouse=True)
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(16)), raising=False)


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V2 = "sys/fs/cgroup"
V1 = "sys/fs/cgroup/cpu"


@pytest.mark.parametrize(
    ("files", "threads"),
    [
        ({}, 16),
        ({f"{V2}/cpu.max": "max 100000\n"}, 16),
        ({f"{V2}/cpu.max": "200000 100000\n"}, 2),
        ({f"{V2}/cpu.max": "150000 100000\n"}, 2),
        ({f"{V2}/cpu.max": "140000 100000\n"}, 1),
        ({f"{V2}/cpu.max": "50000 100000\n"}, 1),
        ({f"{V2}/cpu.max": "9900000 100000\n"}, 16),
        ({f"{V2}/cpu.max": "rubbish\n"}, 16),
        ({f"{V2}/cpu.max": "200000 0\n"}, 16),
        ({f"{V1}/cpu.cfs_quota_us": "-1\n", f"{V1}/cpu.cfs_period_us": "100000\n"}, 16),
        ({f"{V1}/cpu.cfs_quota_us": "300000\n", f"{V1}/cpu.cfs_period_us": "100000\n"}, 3),
        ({f"{V1}/cpu.cfs_quota_us": "25000\n", f"{V1}/cpu.cfs_period_us": "50000\n"}, 1),
        ({f"{V1}/cpu.cfs_quota_us": "300000\n"}, 16),
    ],
    ids=lambda value: ",".join(value.values()).replace("\n", "") if isinstance(value, dict) else str(value),
)
def test_threads_follow_the_quota_of_the_root_group(tmp_path: Path, files: dict[str, str], threads: int) -> None:
    assert cpu.available_threads(tree(tmp_path, files)) == threads


def test_version_2_uses_the_tightest_quota_of_the_group_and_its_parents(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/kubepods/pod1/container\n",
            f"{V2}/kubepods/pod1/container/cpu.max": "800000 100000\n",
            f"{V2}/kubepods/pod1/cpu.max": "400000 100000\n",
            f"{V2}/kubepods/cpu.max": "max 100000\n",
        },
    )
    assert cpu.available_threads(root) == 4


def test_version_1_uses_the_group_of_the_cpu_controller(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "5:memory:/other\n3:cpu,cpuacct:/docker/abc\n0::/\n",
            f"{V1}/docker/abc/cpu.cfs_quota_us": "600000\n",
            f"{V1}/docker/abc/cpu.cfs_period_us": "100000\n",
            f"{V1}/other/cpu.cfs_quota_us": "100000\n",
            f"{V1}/other/cpu.cfs_period_us": "100000\n",
        },
    )
    assert cpu.available_threads(root) == 6


def test_with_both_versions_the_tighter_quota_and_affinity_apply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree(
        tmp_path,
        {
            f"{V2}/cpu.max": "500000 100000\n",
            f"{V1}/cpu.cfs_quota_us": "400000\n",
            f"{V1}/cpu.cfs_period_us": "100000\n",
        },
    )
    assert cpu.available_threads(root) == 4
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1, 2})
    assert cpu.available_threads(root) == 3


def test_a_group_path_cannot_leave_the_tree(tmp_path: Path) -> None:
    root = tree(tmp_path / "root", {"proc/self/cgroup": "0::/../../outside\n", f"{V2}/cpu.max": "max 100000\n"})
    tree(tmp_path, {"outside/cpu.max": "100000 100000\n"})
    assert cpu.available_threads(root) == 16
