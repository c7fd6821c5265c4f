"""`rerank batch --engine ray` writes the same results as the local engine, also when workers die."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from batch_support import BATCH, lines
from free_scorer import FreeScorer
from hypothesis import given
from hypothesis import strategies as st

from rerank_cli import distributed
from rerank_cli.batch import parts
from rerank_cli.batch.parts import cut, done_before, files_of, rank_part, rows_of
from rerank_cli.batch.plan import BatchSettings
from rerank_cli.errors import InputError, ModelError, RowsFailed, UsageError
from rerank_cli.report import Report
from rerank_cli.settings import FieldSettings, RankSettings


def default_settings(body) -> RankSettings:
    return RankSettings(top_n=body.top_n)


def recipe(folder: Path, **more) -> parts.RankingJobConfig:
    settings = BatchSettings(default_settings, strict=more.pop("strict", False))
    return parts.RankingJobConfig(
        **{"folder": str(folder), "settings": settings, "errors": True, "identity": "x"} | more
    )


@given(st.lists(st.sampled_from(["", "  ", "{x", *lines(3)]), max_size=30), st.integers(1, 400), st.booleans())
def test_the_parts_of_a_file_hold_each_line_once_under_its_number(rows: list[str], size: int, end: bool) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "in.jsonl")
        path.write_bytes(b"\xef\xbb\xbf" + "\n".join(rows).encode() + b"\n" * end)
        smallest, parts.SMALLEST = parts.SMALLEST, size
        try:
            made = cut([(str(path), "in", ".out")])
        finally:
            parts.SMALLEST = smallest
        found = [
            (job.line, job.where, bool(job.error)) for part in made for job in rows_of(part, FieldSettings(), Report())
        ]
    wanted = [(n, f"{path}:{n}", row == "{x") for n, row in enumerate(rows, 1) if row.strip()]
    assert found == wanted
    assert len({part.output for part in made}) == len(made)


def test_row_groups_and_compressed_files_are_parts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gzip

    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [json.loads(line) for line in lines(10)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=3)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress("\n".join(lines(4)).encode()))
    (tmp_path / "_SUCCESS").write_text("")
    (tmp_path / ".part.crc").write_text("")
    files = files_of([str(tmp_path)])
    assert [Path(name).name for name in files] == ["a.parquet", "b.jsonl.gz"]
    monkeypatch.setattr(parts, "SMALLEST", 1)
    made = cut([(name, Path(name).stem, ".out") for name in files])
    assert len(made) == 5
    found = [job.where.rpartition("/")[2] for part in made for job in rows_of(part, FieldSettings(), Report())]
    assert found == [f"a.parquet:{n}" for n in range(1, 11)] + [f"b.jsonl.gz:{n}" for n in range(1, 5)]


def test_a_folder_without_requests_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no request files"):
        files_of([str(tmp_path)])


def test_a_part_is_written_whole_with_its_bad_rows_in_a_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("\n".join([*lines(2), "{broken"]))
    (part,) = cut([(str(tmp_path / "in.jsonl"), "in", ".out")])
    how = recipe(tmp_path)
    done = rank_part(part, FreeScorer(), how)
    assert (done.counts["rows"], done.counts["failed"]) == (3, 1)
    assert done.failures[0].startswith(f"{tmp_path}/in.jsonl:3: ")
    assert (tmp_path / "in.out").read_bytes().count(b"\n") == 2
    assert json.loads((tmp_path / "in.out.errors").read_text())["where"].endswith("in.jsonl:3")
    assert done_before(part, how) == done
    with pytest.raises(UsageError, match="changed since"):
        done_before(part, recipe(tmp_path, identity="another model"))
    with pytest.raises(RowsFailed, match="--strict"):
        rank_part(part, FreeScorer(), recipe(tmp_path, strict=True))
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".tmp"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["in.jsonl"], "--out-dir"),
        (["--out-dir", "out"], "stdin cannot be cut"),
        (["in.jsonl", "--out-dir", "out", "--shard", "1/2"], "--shard"),
    ],
)
def test_options_of_the_local_engine_are_refused(run, tmp_path: Path, argv: list[str], words: str) -> None:
    (tmp_path / "in.jsonl").write_text(lines(1)[0])
    placed = [str(tmp_path / arg) if arg in {"in.jsonl", "out"} else arg for arg in argv]
    found = run("batch", *placed, "--engine", "ray")
    assert (found.code, words in found.err) == (2, True)


def test_without_ray_the_extra_is_named(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in.jsonl").write_text(lines(1)[0])
    monkeypatch.setitem(sys.modules, "ray", None)
    found = run("batch", tmp_path / "in.jsonl", "--engine", "ray", "--out-dir", tmp_path / "out")
    assert found.code == 4
    assert "rerank-cli[ray]" in found.err


def here(task: distributed.Task, _cluster: distributed.Cluster):
    """What Ray does, here: workers that got the task through a pickle, each a share of the parts, in another order."""
    workers = [distributed.Worker(pickle.loads(pickle.dumps(task))) for _ in range(2)]
    for number in reversed(range(len(task.parts))):
        record = json.loads(workers[number % 2]({"number": [number]})["record"][0])
        if "code" in record:
            raise distributed._error(record)
        yield record


def test_workers_write_the_same_as_the_local_engine(run, free, inputs: Path, tmp_path: Path, monkeypatch) -> None:
    """All but Ray itself, which is behind `-m ray`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.setattr(distributed, "rank_parts", here)
    pq.write_table(pa.Table.from_pylist([json.loads(row) for row in lines(5, "g")]), inputs / "g.parquet")
    with (inputs / "f.jsonl").open("a") as file:
        file.write("{broken\n")
    ray = (
        "--engine",
        "ray",
        "--summary",
        tmp_path / "s.json",
        "--errors",
        "yes",
        "--out-dir",
        tmp_path / "ray",
        "-n",
        "2",
    )
    found = run("batch", inputs, *ray)
    assert (found.code, f"{inputs}/f.jsonl:31: not valid JSON" in found.err) == (6, True)
    plain = run("batch", *sorted(inputs.iterdir()), "--errors", "yes", "--out-dir", tmp_path / "plain", "-n", "2")
    assert plain.code == 6
    assert outputs(tmp_path / "ray") == {k: v for k, v in outputs(tmp_path / "plain").items() if v or "errors" in k}
    summary = json.loads((tmp_path / "s.json").read_text())
    assert (summary["rows"], summary["failed"], summary["complete"]) == (186, 1, True)


def test_a_stopped_run_resumes_with_the_missing_parts(run, free, inputs: Path, tmp_path: Path, monkeypatch) -> None:
    def stops(task, cluster):
        for number, record in enumerate(here(task, cluster)):
            if number == 4:
                raise KeyboardInterrupt
            yield record

    argv = ("batch", inputs, "--engine", "ray", "--out-dir", tmp_path / "ray")
    monkeypatch.setattr(distributed, "rank_parts", stops)
    assert run(*argv).code == 130
    first = {path: path.stat().st_mtime_ns for path in (tmp_path / "ray").glob("*.jsonl")}
    assert len(first) == 5
    monkeypatch.setattr(distributed, "rank_parts", here)
    found = run(*argv, "--resume")
    assert (found.code, "5 of 6 parts are there already" in found.err) == (0, True)
    assert {path: path.stat().st_mtime_ns for path in first} == first
    assert len(outputs(tmp_path / "ray")) == 6, "no marks are left"
    assert "180 rows" in found.err


def test_parts_of_an_earlier_split_are_removed(run, free, inputs: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(distributed, "rank_parts", here)
    argv = ("batch", inputs, "--engine", "ray", "--out-dir", tmp_path / "ray")
    assert run(*argv).code == 0
    old = "f-00003-of-00099.responses.jsonl"
    for stale in (old, f"{old}.errors"):
        (tmp_path / "ray" / stale).write_text("stale")
    (tmp_path / "ray" / "notes-00001-of-00002.txt").write_text("not ours")
    expected = outputs(tmp_path / "ray")
    found = run(*argv)
    assert (found.code, "1 results of another cut" in found.err) == (0, True)
    assert set(expected) - set(outputs(tmp_path / "ray")) == {old, f"{old}.errors"}


def test_an_input_that_shrinks_ends_the_reading(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("\n".join(lines(5, "s")) + "\n")
    part = parts.Part("in.jsonl", str(tmp_path / "in.jsonl"), "out", 0, 10**6)
    with pytest.raises(InputError, match="became shorter"):
        list(rows_of(part, FieldSettings(), Report()))


def test_the_number_of_workers_follows_cluster_and_options() -> None:
    class Resources:
        def __init__(self, **found: float) -> None:
            self.cluster_resources = lambda: found

    def workers(cluster: distributed.Cluster, threads: int = 1, **found: float) -> int:
        return distributed._workers(Resources(**found), cluster, threads)

    cluster = distributed.Cluster
    assert workers(cluster(), CPU=8.0) == 8
    assert workers(cluster(), 3, CPU=8.0) == 2
    assert workers(cluster(None, None, 0.2), CPU=8.0, GPU=1.0) == 5
    assert workers(cluster(workers=2), CPU=8.0) == 2
    assert workers(cluster(gpus_per_worker=0.5), CPU=8.0, GPU=1.0) == 2
    assert workers(cluster(workers=4, gpus_per_worker=1), CPU=8.0, GPU=1.0) == 1
    assert workers(cluster("ray://far:1", 40, 1.0), CPU=8.0) == 40, "a cluster may grow"
    with pytest.raises(ModelError, match="no room for a worker"):
        workers(cluster(workers=1, gpus_per_worker=1), CPU=8.0)


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "abcdef":
        (folder / f"{name}.jsonl").write_text("\n".join(lines(30, name)) + "\n")
    return folder


def command(*argv: str | Path) -> list[str]:
    return [*BATCH, *map(str, argv)]


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_unreachable_cluster_is_reported_at_once() -> None:
    with pytest.raises(ModelError, match=r"cannot start or reach the Ray cluster 127\.0\.0\.1:1: .*refused"):
        distributed._require_listening(distributed.Cluster("127.0.0.1:1"))
    distributed._require_listening(distributed.Cluster("auto"))


@pytest.mark.ray
@pytest.mark.timeout(1800)
def test_two_workers_write_the_same_as_the_local_engine(inputs: Path, tmp_path: Path, env: dict[str, str]) -> None:
    files = sorted(inputs.iterdir())
    subprocess.run(command(*files, "--out-dir", tmp_path / "plain", "--quiet"), env=env, check=True)
    with (inputs / "f.jsonl").open("a") as file:
        file.write("{broken\n")
    argv = command(inputs, "--engine", "ray", "--workers", "2", "--out-dir", tmp_path / "ray", "--errors", "yes")
    done = subprocess.run([*argv, "--summary", tmp_path / "s.json"], env=env, capture_output=True, check=False)
    assert done.returncode == 6, done.stderr.decode()
    assert f"{inputs}/f.jsonl:31: ".encode() in done.stderr
    assert b"Traceback" not in done.stderr
    found = outputs(tmp_path / "ray")
    assert found.pop("f.responses.jsonl.errors").count(b"\n") == 1
    assert {name: data for name, data in found.items() if not name.endswith(".errors")} == outputs(tmp_path / "plain")
    summary = json.loads((tmp_path / "s.json").read_text())
    assert (summary["rows"], summary["failed"], summary["complete"]) == (181, 1, True)
    assert not list(Path(env["HOME"]).rglob("*ray*")), "Ray leaves nothing in HOME"


def children_of(pid: int) -> list[int]:
    """All descendants of a process that we started."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents.setdefault(int(path.read_text().rpartition(")")[2].split()[1]), []).append(int(path.parent.name))
        except OSError:
            continue
    found, open_ = [], [pid]
    while open_:
        below = parents.get(open_.pop(), [])
        found += below
        open_ += below
    return found


def is_worker(pid: int) -> bool:
    try:
        return b"Worker" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
    except OSError:
        return False


@pytest.mark.ray
@pytest.mark.timeout(1800)
def test_a_worker_killed_midway_changes_nothing(inputs: Path, tmp_path: Path, env: dict[str, str]) -> None:
    subprocess.run(command(*inputs.iterdir(), "--out-dir", tmp_path / "plain", "--quiet"), env=env, check=True)
    argv = command(inputs, "--engine", "ray", "--workers", "2", "--out-dir", tmp_path / "ray")
    process = subprocess.Popen(argv, env=env, stderr=subprocess.PIPE)
    killed = 0
    while process.poll() is None:
        busy = (tmp_path / "ray").exists() and any(p.suffix == ".tmp" for p in (tmp_path / "ray").iterdir())
        if busy and not killed:
            workers = [pid for pid in children_of(process.pid) if is_worker(pid)]
            if workers:
                os.kill(workers[0], signal.SIGKILL)
                killed += 1
        time.sleep(0.01)
    assert killed == 1
    err = process.stderr.read()
    process.stderr.close()
    assert process.returncode == 0, err.decode()
    assert err.startswith(b"rerank: 180 rows, "), "Ray says nothing"
    assert err.count(b"\n") == 1
    left = {name: data for name, data in outputs(tmp_path / "ray").items() if not name.startswith(".")}
    assert left == outputs(tmp_path / "plain")
