"""This machine's processor: threads that the container may use, instruction sets that matter.

It reads /proc and cgroup files only; no numerical library is imported.
"""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path


def available_threads(root: Path = Path("/")) -> int:
    """Threads worth starting: CPU affinity, capped by the container's quota (cgroup v2 `cpu.max`, v1 `cfs_quota_us`).

    A pool as large as the host inside a quota of one core is throttled most of the time. `root` is for tests.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for quota in (_quota_v2(root), _quota_v1(root)) if quota is not None]
    return max(1, min([affinity, *[int(quota + 0.5) or 1 for quota in quotas]]))


def _quota_v2(root: Path) -> float | None:
    """The tightest `cpu.max` from this process's cgroup up to the root, in cores."""
    base = root / "sys/fs/cgroup"
    quotas: list[float] = []
    for folder in _own_and_parents(base, _cgroup_path(root, "")):
        words = _read(folder / "cpu.max").split()
        if len(words) == 2 and words[0].isdigit() and int(words[1]) > 0:
            quotas.append(int(words[0]) / int(words[1]))
    return min(quotas, default=None)


def _quota_v1(root: Path) -> float | None:
    base = root / "sys/fs/cgroup/cpu"
    quotas: list[float] = []
    for folder in _own_and_parents(base, _cgroup_path(root, "cpu")):
        quota, period = _read(folder / "cpu.cfs_quota_us").strip(), _read(folder / "cpu.cfs_period_us").strip()
        if quota.isdigit() and period.isdigit() and int(period) > 0:  # -1 means no quota
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def _cgroup_path(root: Path, controller: str) -> str:
    """This process's path for a controller (v1) or the unified hierarchy (v2, controller "")."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controller in controllers.split(","):
            return path.lstrip("/")
    return ""


def _own_and_parents(base: Path, path: str) -> list[Path]:
    parts = [part for part in path.split("/") if part and part != ".."]
    return [base.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


@cache
def features() -> frozenset[str]:
    """Instruction sets of this CPU that decide graph and precision: avx2, avx512_vnni, avx_vnni, amx_*, bf16."""
    machine = platform.machine().lower()
    words = set(_read(Path("/proc/cpuinfo")).split())
    if machine in {"aarch64", "arm64"}:
        return frozenset({"arm64"} | (words & {"asimddp", "i8mm", "bf16"}))
    known = {"avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "amx_tile"}
    return frozenset(words & known)


def int8_dot() -> bool:
    """Whether u8 × s8 products are accumulated without saturation (VNNI on x86; always on ARM)."""
    return bool(features() & {"avx512_vnni", "avx_vnni", "amx_int8", "arm64"})
