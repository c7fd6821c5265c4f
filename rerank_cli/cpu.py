"""This machine's processor: threads that the container may use, instruction sets that matter.

It reads /proc and cgroup files only; no numerical library is imported.
"""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def available_threads(root: Path = Path("/")) -> int:
    """Threads worth starting: CPU affinity, capped by the container's quota (cgroup v2 `cpu.max`, v1 `cfs_quota_us`).

    A pool as large as the host inside a quota of one core is throttled most of the time. `root` is for tests.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [*_quotas(root, "sys/fs/cgroup", "", "cpu.max")]
    quotas += _quotas(root, "sys/fs/cgroup/cpu", "cpu", "cpu.cfs_quota_us", "cpu.cfs_period_us")
    return max(1, min([affinity, *[int(quota + 0.5) or 1 for quota in quotas]]))


def threads_of(asked: int | None) -> int:
    """Threads that an engine starts: as asked, but no more than processors; hundreds of idle ones take minutes."""
    return min(asked, os.cpu_count() or 1) if asked else available_threads()


def _quotas(root: Path, base: str, controller: str, *files: str) -> Iterator[float]:
    """The quotas in cores from this process's cgroup up to the root; `files` hold quota and period, in microseconds."""
    parts = [part for part in _cgroup_path(root, controller).split("/") if part and part != ".."]
    for depth in range(len(parts), -1, -1):
        folder = root.joinpath(base, *parts[:depth])
        words = " ".join(_read(folder / name) for name in files).split()
        if (
            len(words) == 2 and all(word.isascii() and word.isdecimal() for word in words) and int(words[1]) > 0
        ):  # max and -1 mean no quota
            yield int(words[0]) / int(words[1])


def _cgroup_path(root: Path, controller: str) -> str:
    """This process's path for a controller (v1) or the unified hierarchy (v2, controller "")."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controller in controllers.split(","):
            return path.lstrip("/")
    return ""


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
