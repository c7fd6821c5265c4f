"""The Ray Data engine of `batch`: parts of request files, ranked by a pool of actors with one scorer each.

Ray moves part numbers and counts only; rows are read and results written by the workers, so all machines must see
input and output under the same paths. It knows neither options nor what is in a part.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import shutil
import tempfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from rerank_cli.errors import InputError, ModelError, RemoteError, RerankError, RowsFailed, UsageError
from rerank_cli.report import Report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rerank_cli.batch.parts import Part, RankingJobConfig
    from rerank_cli.scorers.base import Scorer
    from rerank_cli.settings import CacheSettings, ModelSettings

OBJECT_STORE = 80_000_000  # bytes of a local cluster's shared memory: only numbers travel


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where the workers run. `address` None: processes of this machine; `workers` None: as many as fit."""

    address: str | None = None
    workers: int | None = None
    gpus_per_worker: float = 0.0


class Task(NamedTuple):
    """What every worker needs: the parts, how to rank them, and with what."""

    parts: list[Part]
    config: RankingJobConfig
    model: ModelSettings
    cache: CacheSettings | None


class Worker:
    """An actor: opens its scorer at its first part and keeps it. Ray restarts it if its process dies."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._scorer: Scorer | None = None
        self._report = Report()

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """Rank the parts with these numbers; an error that would meet every part comes back as a record."""
        return {"record": [json.dumps(self._rank(int(number))) for number in batch["number"]]}

    def _rank(self, number: int) -> dict[str, Any]:
        from rerank_cli.batch.parts import rank_part

        try:
            done = rank_part(self._task.parts[number], self._open(), self._task.config)
        except RerankError as error:
            return {"code": int(error.code), "message": error.message, "hint": error.hint}
        return {**done._asdict(), "warnings": [*done.warnings, *self._report.warnings()]}

    def _open(self) -> Scorer:
        if self._scorer is None:
            from rerank_cli.scorers.registry import open_scorer
            from rerank_cli.terminal import Terminal

            env = Terminal.of_process().env
            self._scorer = open_scorer(self._task.model, env, self._report, self._task.cache)
        return self._scorer


def rank_parts(task: Task, cluster: Cluster) -> Iterator[dict[str, Any]]:
    """The result of each part (`Done` as a record), as they are finished, in any order.

    Raises ModelError: Ray is missing, or the cluster has no room for a worker; RerankError: a worker met an error that
    would meet every part.
    """
    with _connected(cluster, task.model.threads or 1) as ray:
        workers = _workers(ray, cluster, task.model.threads or 1)
        model = replace(task.model, threads=task.model.threads or 1)
        for row in _dataset(ray, task._replace(model=model), cluster, workers).iter_rows():
            record: dict[str, Any] = json.loads(row["record"])
            if "code" in record:
                raise _error(record)
            yield record


def _dataset(ray: Any, task: Task, cluster: Cluster, workers: int) -> Any:
    """One block per part, so that Ray retries single parts."""
    numbers = [{"number": number} for number in range(len(task.parts))]
    return ray.data.from_items(numbers, override_num_blocks=len(numbers)).map_batches(
        Worker,
        fn_constructor_args=(task,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(numbers)), max_tasks_in_flight_per_actor=2),
        num_cpus=task.model.threads,
        num_gpus=cluster.gpus_per_worker or None,
    )  # Ray Data restarts actors and retries their tasks without limit by default


@contextlib.contextmanager
def _connected(cluster: Cluster, threads: int) -> Iterator[Any]:
    """Ray, silent and without its telemetry, connected to the cluster or to a local one that ends with the block."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read at import, by this process and those it starts
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"  # spares a warning of Ray's
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its C++ parts write to our stderr
    try:
        import ray
        import ray.data
    except ImportError as error:
        hint = "pip install 'rerank-cli[ray]', on every machine of the cluster"
        raise ModelError(f"--engine ray needs Ray ({error})", hint) from error
    folder = tempfile.mkdtemp(prefix="rerank-ray-", dir="/tmp" if os.path.isdir("/tmp") else None)  # noqa: PTH112, S108 sockets need a short path
    try:
        _init(ray, cluster, threads, folder)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        yield ray
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _init(ray: Any, cluster: Cluster, threads: int, folder: str) -> None:
    """Connect, silently; a local cluster gets a second try: a busy machine may need over 30 s."""
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    logging.getLogger("ray").setLevel(logging.ERROR)
    if cluster.address:
        _require_listening(cluster)
        options |= {"address": cluster.address}
    else:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else Ray keeps one in HOME/.ray
        options |= _own_cluster(cluster, threads, folder)
    for last in (bool(cluster.address), True):
        try:
            with _stderr_closed():
                ray.init(**options)
            break
        except Exception as error:
            ray.shutdown()
            if last or "timed out during startup" not in str(error):  # a plain Exception: only its text identifies it
                raise _unreachable(cluster, error) from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)


@contextlib.contextmanager
def _stderr_closed() -> Iterator[None]:
    """No stderr, down to the file descriptor: Ray's C++ part announces there that it will be silent."""
    try:
        saved = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    with open(os.devnull, "w") as null:  # noqa: PTH123 for its descriptor
        os.dup2(null.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _require_listening(cluster: Cluster) -> None:
    """Raise ModelError at once if nothing listens there: Ray itself would try for minutes."""
    import socket

    host, _, port = (cluster.address or "").removeprefix("ray://").rpartition(":")
    if not (host and port.isascii() and port.isdecimal()):
        return  # `auto` and the like: Ray knows
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(cluster, error) from error


def _own_cluster(cluster: Cluster, threads: int, folder: str) -> dict[str, Any]:
    """Ray on this machine alone."""
    from rerank_cli.cpu import available_threads

    return {
        "address": "local",  # whatever RAY_ADDRESS says
        "num_cpus": max(available_threads(), (cluster.workers or 1) * threads),
        "include_dashboard": False,
        "object_store_memory": OBJECT_STORE,
        "_node_ip_address": "127.0.0.1",
        "_temp_dir": folder,
    }


def _unreachable(cluster: Cluster, error: Exception) -> ModelError:
    words = str(error).strip().splitlines() or [type(error).__name__]
    where = f"the Ray cluster {cluster.address}" if cluster.address else "Ray on this machine"
    return ModelError(f"cannot start or reach {where}: {words[0]}", "`ray status` shows a cluster")


def _workers(ray: Any, cluster: Cluster, threads: int) -> int:
    """How many workers to start. A cluster may grow to the number asked for, this machine does not.

    Raises ModelError if there is no room for any.
    """
    if cluster.workers and cluster.address:
        return cluster.workers
    resources = ray.cluster_resources()
    cpus, gpus = resources.get("CPU", 0), resources.get("GPU", 0)
    fits = cpus // threads
    if cluster.gpus_per_worker:
        fits = min(fits, gpus / cluster.gpus_per_worker + 1e-9)  # 1 // 0.2 is 4
    if fits < 1:
        hint = "lower --threads or --gpus-per-worker"
        raise ModelError(f"the cluster has {cpus:g} CPUs and {gpus:g} GPUs: no room for a worker", hint)
    return min(cluster.workers or int(fits), int(fits))


def _error(record: dict[str, Any]) -> RerankError:
    """A worker's error as the driver's."""
    classes: dict[int, type[RerankError]] = {
        int(known.code): known for known in (UsageError, InputError, ModelError, RemoteError, RowsFailed)
    }
    return classes.get(record["code"], RerankError)(record["message"], record["hint"])
