"""`rank_documents` and `rank_files` as tools of the Model Context Protocol, for agents, over stdin and stdout.

The only module that imports mcp, the protocol's own SDK. Files are read only inside one folder. It knows nothing of
command lines. Specification: modelcontextprotocol.io, revision 2025-06-18 and later, as far as the SDK has it.
"""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from rerank_cli import pipeline
from rerank_cli.errors import InputError, RerankError
from rerank_cli.field_hints import for_members
from rerank_cli.fields import identity
from rerank_cli.options import options_of
from rerank_cli.readers import open_documents
from rerank_cli.report import Report
from rerank_cli.settings import DEFAULT_ID_FIELDS, FieldSettings, InputSettings, RankSettings
from rerank_cli.text import shortened
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
        self._turn = threading.Lock()

    def rank_documents(
        self,
        query: Query,
        documents: Annotated[list[str | dict[str, Any]], Field(description="Texts, or objects with a text.")],
        top_n: TopN = 10,
        rank_fields: Fields = None,
    ) -> Results:
        """Rank texts or objects by relevance to a query, best first."""
        with self._answering():
            if len(documents) > self._max_documents:
                raise self._too_many()
            ranking = self._reranker.rank(query, documents, top_n, rank_fields)
        return _results(ranking, len(documents), _given)

    def rank_files(
        self,
        query: Query,
        paths: Annotated[
            list[str], Field(description="Files, or patterns as `docs/**/*.md`, relative to the root folder.")
        ],
        top_n: TopN = 10,
        input_format: Format = "auto",
        rank_fields: Fields = None,
    ) -> Results:
        """Rank the documents of files by relevance to a query, best first: lines, JSON Lines, CSV … or whole files."""
        report = Report()
        fields = FieldSettings(rank_fields=tuple(rank_fields or ()))
        with self._answering():
            files = tuple(str(path) for path in self._files(paths))
            inputs = InputSettings(files=files, input_format=input_format, fields=fields)
            chunks = self._counted(open_documents(inputs, self._terminal, report).chunks)
            ranking = pipeline.rank(query, chunks, self._reranker.scorer, RankSettings(top_n=top_n), report)
        return _results(ranking, report.counts["documents"], self._described)

    def _described(self, hit: Hit) -> Described:
        """Of a document of a file: its id, the file's name within the root, what was scored."""
        file = Path(hit.document.source.name if hit.document.source.kind != "file" else hit.document.raw.decode())
        return hit.document.id, file.relative_to(self._root).as_posix(), hit.document.text

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """One call at a time; an error of ours is told with its hint, and no other detail of this machine."""
        with self._turn:
            try:
                yield
            except RerankError as error:
                hint = as_arguments(error.hint or "")
                text = f"{error}" + (f" ({hint})" if hint else "")
                raise ToolError(text.replace(f"{self._root}/", "")) from error

    def _files(self, paths: Sequence[str]) -> list[Path]:
        """The files of paths and patterns, each once, sorted within a pattern. Raises InputError."""
        found: dict[Path, None] = {}
        for name in paths:
            for path in self._named(name):
                found.setdefault(path)
                if len(found) > self._max_documents:
                    raise self._too_many()
        return list(found)

    def _named(self, name: str) -> list[Path]:
        try:
            exact = self._root / name
            matches = [exact] if exact.exists() else sorted(self._root.glob(name))
            real = [path.resolve() for path in matches]
        except (ValueError, NotImplementedError, OSError, RuntimeError) as error:  # NUL, an absolute pattern, a loop
            raise InputError(f"cannot use the path `{name}`: {error}", "give paths relative to the root") from None
        inside = [path for path in real if path.is_relative_to(self._root)]
        if len(inside) < len(real):
            raise InputError(f"`{name}` is outside of the root folder", "give paths inside it, without links out of it")
        files = [path for path in inside if path.is_file()]
        if not files:
            raise InputError(f"no file is called `{name}`", "give a file or a pattern, relative to the root")
        return files

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
    text = document if isinstance(document, str) else orjson.dumps(document).decode()
    return identity(document, DEFAULT_ID_FIELDS), None, text


def make_server(tools: Tools, *, local: bool) -> MCPServer[Any]:
    """The server with both tools; `local` is false for a model that is asked over the network."""
    server: MCPServer[Any] = MCPServer("rerank", version=__version__, instructions=INSTRUCTIONS, log_level="WARNING")
    hints = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=not local)
    server.tool(annotations=hints, structured_output=True)(tools.rank_documents)
    server.tool(annotations=hints, structured_output=True)(tools.rank_files)
    return server
