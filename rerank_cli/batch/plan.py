"""What a batch does, as frozen records: what is read, where results go, how rows are ranked and rendered.

Commands build these from their options. Nothing here reads, scores or writes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from rerank_cli.settings import FieldSettings, InputSettings, OutputSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rerank_cli.readers.queries import QueryFormat
    from rerank_cli.records import RequestOptions
    from rerank_cli.settings import RankSettings


@dataclass(frozen=True, slots=True)
class Shard:
    """Which rows this run works on: those with `number % of == part - 1`; `part` counts from 1."""

    part: int = 1
    of: int = 1

    def has(self, number: int) -> bool:
        """Whether a row belongs to this shard."""
        return number % self.of == self.part - 1


@dataclass(frozen=True, slots=True)
class BatchInputs:
    """What is ranked: request files; or `queries` with `documents`; or a TREC `run` with its queries and corpus."""

    queries: str | None = None
    query_format: QueryFormat = "auto"
    documents: InputSettings | None = None  # ranked for every query
    run: str | None = None
    corpus: str | None = None
    collection: InputSettings = field(default_factory=InputSettings)  # how queries and corpus are read
    depth: int | None = None  # documents per query of the run

    def further(self, files: tuple[str, ...]) -> list[str]:
        """The files that are read besides `files`."""
        documents = self.documents.files if self.documents else ()
        return [*documents, *(name for name in (self.queries, self.corpus) if name and name not in files)]


class Output(NamedTuple):
    """Input files (`-` is stdin) that are read as one sequence of rows, and where its results go (None: stdout)."""

    files: tuple[str, ...]
    target: Path | None


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """How rows are read, ranked and rendered. It travels to other processes if `settings_of` does."""

    settings_of: Callable[[RequestOptions], RankSettings]
    format: str = "responses"  # responses, rows or trec
    fields: FieldSettings = field(default_factory=FieldSettings)
    output: OutputSettings = field(default_factory=OutputSettings)
    strict: bool = False  # stop at the first bad row


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """Everything about a batch but the scorer."""

    inputs: BatchInputs
    outputs: tuple[Output, ...]
    settings: BatchSettings
    identity: str  # the options that decide what is written: they must not change before a --resume
    shard: Shard
    resume: bool
    implicit_stdin: bool  # requests come from stdin because no file was named
    out_dir: Path | None
    errors: Path | None
    qrels: str | None

    @property
    def files(self) -> tuple[str, ...]:
        """The input files of all outputs."""
        return tuple(name for output in self.outputs for name in output.files)
