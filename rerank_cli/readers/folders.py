"""A collection's folder as one argument: the file in it that holds the documents, the queries or the qrels.

BEIR's folders have `corpus.jsonl`, `queries.jsonl` and `qrels/test.tsv`; other names and formats are known too. It
opens nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rerank_cli import lookup
from rerank_cli.errors import InputError
from rerank_cli.readers.formats import by_name

if TYPE_CHECKING:
    from rerank_cli.report import Report

Part = Literal["documents", "queries", "qrels"]
STEMS: dict[Part, tuple[str, ...]] = {
    "documents": ("corpus", "collection"),
    "queries": ("queries", "topics"),
    "qrels": ("qrels",),
}
SPLITS = ("test", "dev", "validation", "train")  # of qrels, the usual one first
_ALSO = (".xml", ".trec", ".qrels", ".topics")  # extensions besides those of documents


def in_folder(name: str, part: Part, report: Report | None = None) -> str:
    """The file of a folder that holds `part`; any other name is returned as it is.

    A folder without documents is returned too: whoever opens it says that it is a folder. A choice between splits of
    the qrels is noted. Raises InputError for a folder that has no such file, or several.
    """
    path = Path(name)
    if name in {"", "-"} or not _is_folder(path):
        return name
    files = next(filter(None, (_files(path, stem) for stem in STEMS[part])), [])
    if not files and part == "documents":
        return name
    expected = " or ".join(f"`{stem}.*`" for stem in STEMS[part])
    if not files:
        hint = f"a folder of a collection has {expected}, as BEIR's have; or name the file itself"
        raise InputError(f"is a folder without {part}", hint, name)
    if len(files) == 1:
        return str(files[0])
    shown = ", ".join(f"`{file.relative_to(path)}`" for file in files[:5])
    usual = [file for split in SPLITS for file in files if file.name.partition(".")[0] == split]
    if part != "qrels" or not usual:
        raise InputError(f"is a folder with several files of {part}: {shown}", "name one of them", name)
    if report:
        report.note(f"{name} has several files of qrels ({shown}): {usual[0].name} is used")
    return str(usual[0])


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # whoever opens it says why not
        return False


def _files(folder: Path, stem: str) -> list[Path]:
    """`stem` with a known extension, else the files of the folder `stem`."""
    beside = [file for file in sorted(folder.glob(f"{stem}.*")) if file.is_file() and _is_known(file.name)]
    if beside or not lookup.is_folder(folder / stem):
        return beside
    return [file for file in sorted((folder / stem).iterdir()) if file.is_file() and _is_known(file.name)]


def _is_known(name: str) -> bool:
    return by_name(name) is not None or name.lower().endswith(_ALSO)
