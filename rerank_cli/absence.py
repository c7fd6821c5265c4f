"""Documents that lack what options name: the fields that no record has, and what is done with empty documents.

It looks at documents after they were read, whatever their format, and only until every named field was found once.
"""

from __future__ import annotations

import csv
from collections import Counter
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from rerank_cli import nesting
from rerank_cli.errors import InputError, did_you_mean
from rerank_cli.field_hints import EMPTY_HINT, MAX_KEYS, TEXT_HINT, field_hint, likely_fields, name_list
from rerank_cli.paths import fields_of, has_path, last_key
from rerank_cli.records import Document
from rerank_cli.text import is_blank, shown, to_utf8

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rerank_cli.report import Report
    from rerank_cli.settings import FieldSettings

SAMPLE = 1000  # records whose keys are counted for a hint
FEW = 5  # documents of a chunk that show what all are like
COMMON = 6  # keys that a message names with their counts
_TEXT = itemgetter(Document._fields.index("text"))


def without_empty(documents: list[Document], fields: FieldSettings, report: Report) -> list[Document]:
    """The documents that have text, the others counted, if the settings leave empty ones out; else all of them.

    Raises InputError for an empty one if the settings ask for that. Most readers do so themselves, with the line.
    """
    if fields.on_missing == "empty":
        return documents
    kept = [document for document in documents if not is_blank(document.text)]
    if fields.on_missing == "error" and len(kept) < len(documents):
        empty = next(document for document in documents if is_blank(document.text))
        raise InputError("the document is empty", EMPTY_HINT, empty.id or empty.source.name)
    report.count("skipped_empty", len(documents) - len(kept))
    return kept


class FieldCheck:
    """Which fields that options name were found in the records of a run, and in those of the current input."""

    def __init__(self, fields: FieldSettings) -> None:
        self.fields = fields
        self._scored = fields.rank_fields or (fields.text_field,)
        ids = fields.id_fields if len(fields.id_fields) == 1 else ()  # several are the usual names, not a choice
        prior = (fields.prior_field,) if fields.prior_field else ()
        several = fields.rank_fields if len(fields.rank_fields) > 1 else ()
        # The fields that no record had so far.
        self._unseen = {
            "rank field": dict.fromkeys(several),
            "id field": dict.fromkeys(ids),
            "prior field": dict.fromkeys(prior),
        }
        self._records = False  # whether there were objects or rows at all
        self._found_before = False
        self._lone: InputError | None = None  # about an input of one record, which others may excuse
        self._found = False
        self.begin("")

    def begin(self, name: str) -> None:
        """Records of another input follow; `name` is how messages call it."""
        self._name = name
        self._found_before = self._found_before or self._found
        self._found = False  # a scored field, or a document that needs none
        self._sampled = 0
        self._keys: Counter[str] = Counter()
        self._examples: dict[str, Any] = {}

    def observe(self, documents: Sequence[Document]) -> None:
        """Look at documents in the order of the input."""
        self._records = self._records or any(map(is_record, islice(documents, FEW)))
        if not self._found:
            self._find_scored(documents)
        for names in self._unseen.values():
            for name in list(names):
                if any(has_field(document, name) for document in documents):
                    del names[name]
        if self._found and any(self._unseen.values()):
            for document in islice(documents, FEW):
                self._sample(record_of(document))

    def observe_values(self, values: Iterable[Any]) -> None:
        """Look at records that were never text, as those of the Python API."""
        for value in values:
            if self._found and not any(self._unseen.values()):
                return
            if not isinstance(value, dict):
                self._found = True
                continue
            self._records = True
            if self._sampled < (FEW if self._found else SAMPLE):
                self._sample(value)
            elif not self._found:
                self._found = any(has_path(value, name) for name in self._scored)
            for names in self._unseen.values():
                for name in [name for name in names if has_path(value, name)]:
                    del names[name]

    def count_lacking(self, documents: Sequence[Document], report: Report) -> None:
        """Count the records that are empty because they do not have the field to score."""
        empty = (document for document in documents if not document.text and is_record(document))
        lacking = sum(not any(has_field(document, name) for name in self._scored) for document in empty)
        names = name_list(self._scored)
        report.lacks(names if len(self._scored) == 1 else f"field of {names}", lacking)

    def end(self, *, excuse_one: bool = False) -> None:
        """The input is complete. Raises InputError if none of its records has a field to score.

        With `excuse_one`, an input of one record is an error only if those of all other inputs lack the field too.
        """
        if self._found or not self._sampled:
            return
        error = self._error()
        if not (excuse_one and self._sampled == 1):
            raise error
        self._lone = self._lone or error

    def _error(self) -> InputError:
        count = self._sampled
        names = self._scored
        subject = f"field `{shown(names[0])}`" if len(names) == 1 else f"any of the fields {name_list(names)}"
        likely = likely_fields(self.fields, self._examples)
        hint = field_hint(self.fields, likely) if self._keys else TEXT_HINT
        if count == 1:
            message = f"the document does not have {subject}; it has {name_list(self._keys)}"
            return InputError(message, hint, self._name)
        counted = [f"{self._keys[name]:,} of {count:,} have `{shown(name)}`" for name in likely]
        hint += " " * bool(counted) + ", ".join(counted)
        who = "none of the documents has" if count == SAMPLE else f"none of {count:,} documents has"
        return InputError(f"{who} {subject}; they have {self._counts()}", hint, self._name)

    def finish(self, report: Report, *, strict: bool = True) -> None:
        """All inputs are complete: warn of a named rank field that no record has.

        Raises InputError for another named field that no record has (if not `strict`, that is a warning too), and if
        all inputs were excused.
        """
        if self._lone and not (self._found or self._found_before):
            raise self._lone
        for role, names in self._unseen.items():
            for name in names:
                message = f"no document has the {role} `{shown(name)}`"
                hint = did_you_mean(name, map(shown, self._keys))
                if strict and self._records and role != "rank field":
                    raise InputError(message, hint or "check its spelling, or leave the option out", self._name or None)
                report.warn(message + (f"; {hint}" if hint else ""))

    @property
    def unseen_rank_fields(self) -> tuple[str, ...]:
        """The rank fields that no record had."""
        return tuple(self._unseen["rank field"])

    def _find_scored(self, documents: Sequence[Document]) -> None:
        if any(not is_blank(document.text) for document in documents):
            self._found = True  # only a field that is there gives a text
            return
        for document in documents:
            if not is_record(document):
                self._found = True
            elif self._sampled < SAMPLE:
                self._sample(record_of(document))
            else:
                self._found = any(has_field(document, name) for name in self._scored)
            if self._found:
                return

    def _sample(self, value: Any) -> None:
        """Count the fields of a record; one that could not be read proves nothing, so nothing is held against it."""
        self._found = self._found or not isinstance(value, dict) or any(has_path(value, name) for name in self._scored)
        if not isinstance(value, dict):
            return
        self._sampled += 1
        for key, item in islice(fields_of(value, MAX_KEYS), MAX_KEYS):
            self._keys[key] += 1
            self._examples.setdefault(key, item)

    def _counts(self) -> str:
        common = self._keys.most_common(COMMON)
        listed = ", ".join(f"`{shown(key)}` ({count})" for key, count in common)
        return (listed or "nothing") + " …" * (len(self._keys) > COMMON)


def checked(
    chunks: Iterable[list[Document]], check: FieldCheck, report: Report, *, last: bool
) -> Iterator[list[Document]]:
    """The chunks of one input, the `last` one of a run or not.

    Its last chunk is handed out after the checks, so that a short input is refused before anything is scored or billed.
    """
    held: list[Document] | None = None
    for chunk in chunks:
        if held is not None:
            yield held
        check.observe(chunk)
        if "" in map(_TEXT, chunk):
            check.count_lacking(chunk, report)
        held = chunk
    check.end(excuse_one=True)
    if last:
        check.finish(report)
    if held is not None:
        yield held


def is_record(document: Document) -> bool:
    """Whether a document has fields: it is an object or a row."""
    kind = document.source.kind
    return kind == "row" or (kind == "json" and document.raw.startswith(b"{"))


def record_of(document: Document) -> Any:
    """A document's fields as a mapping; None for what has none, or what the standard library cannot read."""
    source, raw = document.source, document.raw
    try:
        if source.kind == "row":
            cells = next(csv.reader([raw.decode("utf-8", "replace")], delimiter=source.delimiter), [])
            return dict(zip(source.columns, cells, strict=False))
        value = nesting.loads(raw) if is_record(document) else None
        return source.members(value) if source.members and isinstance(value, dict) else value
    except (ValueError, RecursionError, csv.Error):
        return None


def has_field(document: Document, path: str) -> bool:
    """Whether a record has a field; a search of its bytes rules most records out."""
    source, raw = document.source, document.raw
    if source.kind == "row":
        return path in source.columns
    last = last_key(path)
    if not is_record(document):
        return False
    if not source.members and to_utf8(f'{last}"') not in raw and b"\\u" not in raw:
        return False
    value = record_of(document)
    return not isinstance(value, dict) or has_path(value, path)
