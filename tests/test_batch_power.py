"""After a power cut or a damaged disk, --resume continues to equal bytes, or refuses and a new start gives them.

A power cut is replayed on a model of a disk: what was synced is there; of the rest any part may be, or zeros; names
are as they were at the last sync of their folder, or as they are.
"""

from __future__ import annotations

import json
import os
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from batch_support import rows

from rerank_cli import sync
from rerank_cli.batch import journal as journals
from rerank_cli.batch import scoring
from rerank_cli.batch.journal import Journal
from rerank_cli.batch.state import State, decode, encode

ROWS, BLOCK = 40, 4
BAD = frozenset({3, 11, 30})


@dataclass
class Disk:
    """A folder as it is, what of it was synced, and images of it that a power cut could leave."""

    folder: Path
    chance: random.Random
    synced: dict[int, bytes] = field(default_factory=dict)  # by inode
    names: dict[str, int] = field(default_factory=dict)
    images: list[dict[str, bytes]] = field(default_factory=list)

    def now(self) -> dict[str, tuple[int, bytes]]:
        return {path.name: (path.stat().st_ino, path.read_bytes()) for path in self.folder.iterdir()}

    def cut(self) -> None:
        """Keep two images: of the old names and of the new."""
        now = self.now()
        contents = dict(now.values())
        for names in (self.names, {name: inode for name, (inode, _) in now.items()}):
            image = {}
            for name, inode in names.items():
                sure = self.synced.get(inode, b"")
                there = contents.get(inode, sure)
                size = self.chance.randint(len(sure), max(len(sure), len(there)))
                tail = there[len(sure) : size]
                image[name] = sure + (tail if self.chance.random() < 0.7 else bytes(len(tail)))
            self.images.append(image)

    def fsync(self, descriptor: int) -> None:
        self.cut()
        known = os.fstat(descriptor)
        if known.st_ino == self.folder.stat().st_ino:
            self.names = {name: inode for name, (inode, _) in self.now().items()}
        else:
            self.synced[known.st_ino] = next(data for inode, data in self.now().values() if inode == known.st_ino)
        self.cut()


def write_image(folder: Path, image: dict[str, bytes]) -> None:
    for path in folder.iterdir():
        path.unlink()
    for name, data in image.items():
        (folder / name).write_bytes(data)


@pytest.fixture
def whole(run, free, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[bytes, bytes]:
    """The output and errors of a run that nothing disturbs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scoring, "BLOCK_ROWS", BLOCK)
    Path("in.jsonl").write_text(rows(ROWS, bad=BAD))
    Path("w").mkdir()
    assert run("batch", "in.jsonl", "-o", "w/out", "--errors", "w/errors").code == 6
    return Path("w/out").read_bytes(), Path("w/errors").read_bytes()


@pytest.mark.parametrize("checkpoint_s", [0.0, 0.02])
def test_a_power_cut_at_any_moment_loses_no_finished_output(run, whole, monkeypatch, checkpoint_s: float) -> None:
    monkeypatch.setattr(journals, "CHECKPOINT_S", checkpoint_s)
    folder = Path("w").absolute()
    write_image(folder, {})
    disk = Disk(folder, random.Random(5))
    add = Journal.add

    def watched(self: Journal, *given) -> None:
        disk.cut()
        add(self, *given)
        disk.cut()

    with monkeypatch.context() as patch:
        patch.setattr(sync.os, "fsync", disk.fsync)
        patch.setattr(Journal, "add", watched)
        argv = ("batch", "in.jsonl", "-o", "w/out", "--errors", "w/errors")
        assert run(*argv).code == 6
        disk.cut()
    assert len(disk.images) > 40
    resumed = 0
    for image in disk.images:
        write_image(folder, image)
        found = run(*argv, "--resume")
        assert found.code == 6, (found.err, image)
        resumed += "resuming after row" in found.err or "already complete" in found.err
        assert (Path("w/out").read_bytes(), Path("w/errors").read_bytes()) == whole
        assert sorted(path.name for path in folder.iterdir()) == ["errors", "out"]
    assert resumed > (len(disk.images) // 2 if not checkpoint_s else 0)


class Stopped(BaseException):
    """A process that is gone."""


@pytest.fixture
def killed(run, whole, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The files of a run that was killed in the middle."""
    monkeypatch.setattr(journals, "CHECKPOINT_S", 0.0)
    add, folder = Journal.add, Path("w")
    write_image(folder, {})

    images: dict[str, bytes] = {}

    def stop(self: Journal, output: bytes, errors: bytes, next_row: int, counts) -> None:
        add(self, output, errors, next_row, counts)
        if next_row >= ROWS // 2:
            images.update({path.name: path.read_bytes() for path in folder.iterdir()})
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", stop)
        with pytest.raises(Stopped):
            run("batch", "in.jsonl", "-o", "w/out", "--errors", "w/errors")
    assert set(images) == {"out.partial", "out.state", "errors"}
    return images


def damages(data: bytes, chance: random.Random) -> list[bytes]:
    """Cut, extended, with changed bytes, zeros, and foreign content."""
    places = sorted({chance.randrange(len(data)) for _ in range(12)} | {0, 1, len(data) - 1})
    cuts = [data[:place] for place in places]
    flips = [data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :] for place in places]
    zeros = [data[:place] + bytes(len(data) - place) for place in places[:5]]
    return [*cuts, *flips, *zeros, data + b"torn row", data + data, b"", b"[]", b"null", b"[" * 100_000]


@pytest.mark.parametrize("name", ["out.partial", "out.state", "errors"])
def test_damage_is_noticed_and_a_new_start_gives_the_same(run, whole, killed, name: str) -> None:
    argv = ("batch", "in.jsonl", "-o", "w/out", "--errors", "w/errors")
    outcomes = {6: 0, 2: 0}
    for damaged in [*damages(killed[name], random.Random(name)), killed[name], None]:
        image = dict(killed)
        if damaged is None:
            del image[name]
        else:
            image[name] = damaged
        write_image(Path("w"), image)
        found = run(*argv, "--resume")
        outcomes[found.code] += 1  # no other code
        if found.code == 2:
            assert found.err.startswith("rerank: error: --resume: ")
            assert "start over without --resume" in found.err
            left = {path.name: data for path in Path("w").iterdir() if (data := path.read_bytes())}
            assert left == {name: data for name, data in image.items() if data}, "a refusal changes nothing"
            assert run(*argv).code == 6
        assert (Path("w/out").read_bytes(), Path("w/errors").read_bytes()) == whole
    assert outcomes[2] > 10
    assert outcomes[6] > 2 or name == "out.state"


@pytest.mark.parametrize("name", ["out", "errors"])
def test_a_complete_output_that_was_changed_is_not_taken_for_complete(run, whole, killed, name: str) -> None:
    """Killed before its state went. Found by fuzzing: the errors file was not looked at."""
    argv = ("batch", "in.jsonl", "-o", "w/out", "--errors", "w/errors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "delete_state", lambda _: None)
        assert run(*argv).code == 6
    image = {path.name: path.read_bytes() for path in Path("w").iterdir()}
    assert "already complete" in run(*argv, "--resume").err
    for damaged in (image[name][:-1], image[name] + b"x", image[name].replace(b"e", b"f", 1), b""):
        write_image(Path("w"), image | {name: damaged})
        assert run(*argv, "--resume").code == 2
        assert run(*argv).code == 6
        assert (Path("w/out").read_bytes(), Path("w/errors").read_bytes()) == whole


WRONG = {
    "next_row": ["1", 1.0, -1, True, None, [], 10**30, 1 << 63],
    "output_bytes": ["1", 1e300, -1, None, {}],
    "errors_bytes": ["", -5, None],
    "counts": [[], None, "x", {"rows": "1"}, {"rows": -1}, {"rows": None}, {"rows": 1.5}],
    "complete": [1, None, "true", []],
    "identity": [[], None, "x", {"the input": 1}, {"the input": None}],
    "output_sha256": [None, 1, []],
    "version": [3, "2", None, [], True, 1.0],
}


@pytest.mark.parametrize("key", WRONG)
@pytest.mark.parametrize("signed", [True, False], ids=["with a right checksum", "without"])
def test_wrong_types_in_a_state_file_are_an_error_of_usage(run, whole, killed, key: str, signed: bool) -> None:
    from rerank_cli.batch import state as states

    for value in [*WRONG[key], ...]:
        record = json.loads(killed["out.state"])
        if value is ...:
            del record[key]
        else:
            record[key] = value
        if signed:
            del record["checksum"]
            record["checksum"] = states._checksum(record)
        write_image(Path("w"), killed | {"out.state": json.dumps(record).encode()})
        found = run("batch", "in.jsonl", "-o", "w/out", "--errors", "w/errors", "--resume")
        assert (found.code, found.out) == (2, b""), (value, found.err)
        assert "--resume: cannot read w/out.state: " in found.err.replace(str(Path.cwd()) + "/", "")


def test_a_state_is_read_as_it_was_written() -> None:
    state = State(3, 10, 2, (("failed", 1), ("rows", 3)), True, "aa", "bb")
    assert decode(encode(state, {"the input": "é\ud800"})) == (state, {"the input": "é\ud800"})
    assert decode(encode(State(), {})) == (State(), {})


def test_data_is_synced_before_its_state_and_the_state_before_its_name(tmp_path: Path, monkeypatch) -> None:
    """The order of system calls of one checkpoint."""
    journal = Journal(tmp_path / "out", tmp_path / "errors", {}, resume=False)
    monkeypatch.setattr(journals, "CHECKPOINT_S", 0.0)
    calls: list[str] = []

    def named(descriptor: int) -> None:
        calls.append("sync " + Path(f"/proc/self/fd/{descriptor}").readlink().name)

    replace = Path.replace

    def renamed(self: Path, target: Path) -> Path:
        calls.append(f"rename {self.name}")
        return replace(self, target)

    monkeypatch.setattr(sync.os, "fsync", named)
    monkeypatch.setattr(Path, "replace", renamed)
    journal.add(b"{}\n", b"{}\n", 1, {})
    checkpoint = ["sync out.partial", "sync errors", "sync out.state.new", "rename out.state.new"]
    checkpoint.append(f"sync {tmp_path.name}")
    assert calls == checkpoint
    journal.finish()
    assert calls == checkpoint * 2 + ["rename out.partial", f"sync {tmp_path.name}"]
    journal.close()
