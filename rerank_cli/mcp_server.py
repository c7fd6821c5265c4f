"""`rank_documents` and `rank_files` as tools of the Model Context Protocol, for agents, over stdin and stdout.

The only module that imports mcp, the protocol's own SDK. Files are read only inside one folder. It knows nothing of
command lines. Specification: modelcontextprotocol.io, revision 2025-06-18 and later, as far as the SDK has it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from traceback import clear_frames
from typing import TYPE_CHECKING, Annotated, Any, Literal

import anyio
from anyio import to_thread
from anyio.from_thread import check_cancelled
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from rerank_cli import pipeline
from rerank_cli.errors import InputError, RerankError
from rerank_cli.field_hints import for_members
from rerank_cli.fields import identity
from rerank_cli.files import reason_of
from rerank_cli.options import options_of
from rerank_cli.readers import open_documents
from rerank_cli.report import Report
from rerank_cli.settings import DEFAULT_ID_FIELDS, Decoding, FieldSettings, InputSettings, RankSettings
from rerank_cli.text import shortened, shown, well_formed
from rerank_cli.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rerank_cli.api import Reranker
    from rerank_cli.records import Document, Hit, Ranking
    from rerank_cli.terminal import Terminal

    Described = tuple[str | None, str | None, str]  # id, file, text

MOST_RESULTS = 100
FIELDS_ARGUMENT = '"rank_fields": [{}]'
MOST_CHARS = 2000  # of a document that is returned: results go into a prompt
MOST_BYTES = 256 * 2**20  # of the files of a call, and of what one compressed file holds
_ARGUMENT = re.compile(r"--(input-format|rank-fields)\b")  # options that are arguments of the tools
INSTRUCTIONS = (
    "Ranks texts by how well they answer a query, with a cross-encoder. Use it after a search that finds too much: "
    "pass what was found, keep the best. Scores of one call can be compared with each other."
)

Query = Annotated[str, Field(description="The question, or what to look for.", min_length=1)]
TopN = Annotated[int, Field(description="How many results to return, best first.", ge=1, le=MOST_RESULTS)]
Fields = Annotated[
    list[str] | None, Field(description="Rank objects by these fields, e.g. title and body (default: text).")
]
Format = Annotated[
    Literal["auto", "files", "lines", "jsonl", "json", "yaml", "csv", "tsv"],
    Field(description="`files`: each file is one document. `auto`: a file holds documents, by its name and content."),
]


class Result(TypedDict):
    """One document of a ranking."""

    index: int  # position among the documents, from 0
    id: str | None
    file: str | None  # of `rank_files`, relative to the root
    relevance_score: float | None
    text: str  # what was scored, or the object as JSON; shortened


class Results(TypedDict):
    """The best documents, how many there were, and what the caller should know."""

    model: str
    documents: int
    results: list[Result]
    warnings: list[str]


class Tools:
    """The two tools over one model. Calls take turns: a scorer computes one at a time."""

    def __init__(self, reranker: Reranker, root: Path, max_documents: int, terminal: Terminal) -> None:
        self._reranker = reranker
        self._root = root.resolve()
        self._max_documents = max_documents
        self._terminal = terminal
        self._turn = anyio.Lock()

    async def rank_documents(
        self,
        query: Query,
        documents: Annotated[list[str | dict[str, Any]], Field(description="Texts, or objects with a text.")],
        top_n: TopN = 10,
        rank_fields: Fields = None,
    ) -> Results:
        """Rank texts or objects by relevance to a query, best first."""

        def work() -> Results:
            if len(documents) > self._max_documents:
                raise self._too_many()
            ranking = self._reranker.rank(query, documents, top_n, rank_fields, advance=go_on)
            return _results(ranking, len(documents), _given)

        return await self._in_turn(work)

    async def rank_files(
        self,
        query: Query,
        paths: Annotated[
            list[str],
            Field(description="Files, or patterns as `docs/**/*.md`, relative to the root folder.", min_length=1),
        ],
        top_n: TopN = 10,
        input_format: Format = "auto",
        rank_fields: Fields = None,
    ) -> Results:
        """Rank the documents of files by relevance to a query, best first: lines, JSON Lines, CSV … or whole files."""
        report = Report()
        fields = FieldSettings(rank_fields=tuple(rank_fields or ()))

        def work() -> Results:
            files = tuple(str(path) for path in self._files(paths, report))
            decoding = Decoding(max_unpacked=MOST_BYTES)
            inputs = InputSettings(files=files, input_format=input_format, fields=fields, decoding=decoding)
            chunks = self._counted(open_documents(inputs, self._terminal, report).chunks)
            ranking = pipeline.rank(query, chunks, self._reranker.scorer, RankSettings(top_n=top_n), report, go_on)
            results = _results(ranking, report.counts["documents"], self._described)
            return Results({**results, "warnings": list(map(self._told, results["warnings"]))})

        return await self._in_turn(work)

    def _described(self, hit: Hit) -> Described:
        """Of a document of a file: its id, the file's name within the root, what was scored."""
        document = hit.document
        whole = document.source.kind == "file"
        file = self._told(document.raw.decode("utf-8", "replace") if whole else well_formed(document.source.name))
        return file if whole else document.id, file, document.text

    def _told(self, text: str) -> str:
        """A text for the agent: files as it names them, options as its arguments."""
        text = _ARGUMENT.sub(lambda found: found[1].replace("-", "_"), text)
        return well_formed(text).replace(f"{self._root}/", "")

    async def _in_turn(self, work: Callable[[], Results]) -> Results:
        """What `work` gives in a thread, one call at a time; calls that wait hold no thread, of which there are few.

        An error of ours is told with its hint, and no other detail of this machine.
        """
        async with self._turn:
            try:
                return await to_thread.run_sync(work)
            except RerankError as error:
                clear_frames(error.__traceback__)  # a reader's error may refer to itself, and keep file and bytes
                hint = as_arguments(error.hint or "")
                raise ToolError(self._told(f"{error}" + (f" ({hint})" if hint else ""))) from None

    def _files(self, paths: Sequence[str], report: Report) -> list[Path]:
        """The files of paths and patterns, each once, sorted within a pattern. Raises InputError."""
        found: dict[Path, None] = {}
        for name in paths:
            found |= dict.fromkeys(self._named(name, report))
            if len(found) > self._max_documents:
                raise self._too_many()
        size = sum(path.stat().st_size for path in found)
        if size > MOST_BYTES:
            raise InputError(f"the files have {size:,} bytes, more than {MOST_BYTES:,}", "give fewer, or smaller ones")
        return list(found)

    def _named(self, name: str, report: Report) -> list[Path]:
        """The file of a name, or those of a pattern. What is outside of the root is not looked at."""
        try:
            exact = (self._root / name).resolve()
            if not exact.is_relative_to(self._root):
                raise self._outside(name)
            if exact.is_file():
                return [exact]
            if exact.is_dir():
                raise InputError(f"`{shown(name)}` is a folder", "give a pattern for its files, as `folder/**/*`")
            other = ".." in Path(name).parts or Path(name).is_absolute()
            found = [] if other else self._matches(name, report)
        except (ValueError, NotImplementedError, OSError, RuntimeError) as error:  # NUL, an absolute pattern, a loop
            hint = "give paths relative to the root"
            raise InputError(f"cannot use the path `{shown(name)}`: {reason_of(error)}", hint) from None
        if not found:
            raise InputError(f"no file is called `{shown(name)}`", "give a file or a pattern, relative to the root")
        return found

    def _matches(self, pattern: str, report: Report) -> list[Path]:
        """The files of a pattern, without those to which links lead out of the root."""
        found, left_out = [], False
        for path in self._root.glob(pattern):
            try:
                real = path.resolve()
                is_file = real.is_file()
            except (OSError, RuntimeError):  # a link that leads to itself, a folder that may not be read
                continue
            if not real.is_relative_to(self._root):
                left_out = True
            elif is_file:
                found.append(real)
                if len(found) > self._max_documents:
                    raise self._too_many()
        if left_out and not found:
            raise self._outside(pattern)
        if left_out:
            report.warn(f"`{shown(pattern)}` also matches links out of the root folder: left out")
        return sorted(found)

    def _outside(self, name: str) -> InputError:
        hint = "give paths inside it, without links out of it"
        return InputError(f"`{shown(name)}` is outside of the root folder", hint)

    def _counted(self, chunks: Iterator[list[Document]]) -> Iterator[list[Document]]:
        """The chunks, up to the limit. Raises InputError beyond it."""
        count = 0
        for chunk in chunks:
            count += len(chunk)
            if count > self._max_documents:
                raise self._too_many()
            yield chunk

    def _too_many(self) -> InputError:
        return InputError(f"more than {self._max_documents:,} documents", "give fewer, or raise `--max-documents`")


def as_arguments(hint: str) -> str:
    """A hint for callers that have arguments of a tool instead of options for inputs; empty if it offers such a one."""
    hint = for_members(hint, FIELDS_ARGUMENT).replace("rank_fields=", '"rank_fields": ')
    hint = re.sub(r"--input-format (\w+)", r'"input_format": "\1"', hint)
    flags = {flag for one in options_of(InputSettings) for flag in one.flags}
    return hint if flags.isdisjoint(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", hint)) else ""


def _results(ranking: Ranking, documents: int, described: Callable[[Hit], Described]) -> Results:
    """What the tools return of a ranking; `described` gives id, file and text of a hit."""
    results: list[Result] = []
    for hit in ranking.hits:
        document_id, file, text = described(hit)
        results.append(Result(
            index=hit.index, id=document_id, file=file, relevance_score=hit.relevance_score,
            text=shortened(text, MOST_CHARS),
        ))  # fmt: skip
    return Results(model=ranking.meta.model, documents=documents, results=results, warnings=list(ranking.meta.warnings))


def _given(hit: Hit) -> Described:
    """Of a document as the agent passed it: the id of an object, no file, the text or the object as JSON."""
    document: str | dict[str, Any] = hit.document
    text = document if isinstance(document, str) else json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return identity(document, DEFAULT_ID_FIELDS), None, text


def go_on(_scored: int = 0) -> None:
    """End the work of a call that the agent has cancelled, or whose agent is gone."""
    check_cancelled()


def make_server(tools: Tools, *, local: bool) -> MCPServer[Any]:
    """The server with both tools; `local` is false for a model that is asked over the network."""
    server: MCPServer[Any] = MCPServer("rerank", version=__version__, instructions=INSTRUCTIONS, log_level="WARNING")
    hints = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=not local)
    server.tool(annotations=hints, structured_output=True)(tools.rank_documents)
    server.tool(annotations=hints, structured_output=True)(tools.rank_files)
    return server
