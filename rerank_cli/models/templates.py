"""Prompts as data: the table of families in templates.json, and templates that a user names or writes.

A row says how a family is recognised, its prompt, its answer tokens and the scale of its score. This module knows
texts and names; nothing of tokenizers or networks.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from rerank_cli import lookup
from rerank_cli.errors import InputError, UsageError, did_you_mean
from rerank_cli.files import reason_of
from rerank_cli.models.facts import YES_LOGIT, Chat
from rerank_cli.records import LOG_ODDS

TABLE = Path(__file__).with_name("templates.json")
# Private-use characters: no text holds them by chance, and no template changes them.
QUERY, DOCUMENT, INSTRUCTION = "\ue000query\ue001", "\ue000document\ue001", "\ue000instruction\ue001"
BREAK = "\ue002"  # between two pieces of a prompt that are tokenised apart
MARKS = {"query": QUERY, "document": DOCUMENT, "instruction": INSTRUCTION}
PLACEHOLDER = re.compile(r"\{(query|document|instruction|bos)\}")
JINJA = re.compile(r"\{[{%#]")
# As sentence-transformers distinguishes the two shapes of a message's content.
STRUCTURED = ("content[0]", ".type", "'type'", '"type"', "item.type", "message.content[")
FILES = {".yaml", ".yml", ".json"}  # a row of the table; any other file is the prompt itself
PIECES = {"prompt", "instructed"}
LISTS = {"model_types", "architectures"}
ANSWERS = {"yes", "no"}


@dataclass(frozen=True, slots=True)
class Template:
    """A row of the table, or what a user's file says; texts have the placeholders of `PLACEHOLDER`."""

    name: str
    prompt: str = ""  # pieces that are tokenised apart are joined by BREAK
    instructed: str | None = None  # the prompt with an instruction, where that is another text
    instruction: str | None = None  # the default one
    yes: str | int | None = None  # a token as text, or its id; None: the repository's, else `yes` and `no`
    no: str | int | None = None  # None beside `yes`: the score is the bare logit of `yes`
    scale: str = ""
    model_types: tuple[str, ...] = ()  # how the family is recognised: type and name, or architecture
    pattern: str = ""  # of the name, in any case
    architectures: tuple[str, ...] = ()
    refused: str = ""  # why a family that is recognised cannot be scored
    source: str = ""

    def matches(self, config: dict[str, Any], names: tuple[str, ...]) -> bool:
        """Whether a model with this config.json and these names is one of the family."""
        if set(self.architectures) & {str(name) for name in config.get("architectures") or ()}:
            return True
        of_type = not self.model_types or config.get("model_type") in self.model_types
        return of_type and any(re.search(self.pattern, name, re.IGNORECASE) for name in names)


@cache
def table() -> dict[str, Template]:
    """The built-in templates by name, in the order in which they are tried."""
    rows = (_template(row, row["name"], str(TABLE)) for row in json.loads(TABLE.read_bytes()))
    return {row.name: row for row in rows}


def recognised(config: dict[str, Any], names: tuple[str, ...]) -> Template | None:
    """The first row of the table that a model matches."""
    return next((row for row in table().values() if row.matches(config, names)), None)


def scoring_names() -> list[str]:
    """The names that `--template` takes."""
    return [row.name for row in table().values() if not row.refused]


def chosen(name: str) -> Template:
    """The template of `--template NAME|FILE`.

    Raises UsageError for an unknown name or a family that no prompt can score, InputError for a file that cannot be
    read or is not a template.
    """
    row = table().get(name)
    if row is not None and row.refused:
        raise UsageError(f"--template {name}: {row.refused}", f"the templates are {', '.join(scoring_names())}")
    if row is not None:
        return row
    path = Path(name).expanduser()
    if not lookup.is_file(path) and not ({"/", "\\", "."} & set(name)):
        hint = did_you_mean(name, scoring_names()) or f"give a file, or one of {', '.join(scoring_names())}"
        raise UsageError(f"--template: there is no template and no file `{name}`", hint)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read the template: {reason_of(error)}", "check the path", str(path)) from None
    except UnicodeDecodeError:
        raise InputError("cannot read the template: it is not UTF-8", "save it as UTF-8", str(path)) from None
    return _template(_row(text, path), str(path), str(path))


def content_of(name: str | None) -> str:
    """What `--template` says now, as text: a file may change between two runs. Raises as `chosen`."""
    return repr(chosen(name)) if name else ""


def takes_pairs(model: str) -> UsageError:
    """The error about a template for a model without a prompt."""
    message = f"--template: {model} takes query and document as a pair, not as a prompt"
    return UsageError(message, "leave `--template` out")


def _row(text: str, path: Path) -> Any:
    """The members of a template file; one that is not YAML or JSON is a prompt, less its last line break."""
    if path.suffix.lower() not in FILES:
        text = text.replace("\r\n", "\n")
        return {"prompt": text if JINJA.search(text) else text.removesuffix("\n")}  # Jinja drops it by itself
    from rerank_cli.readers.yamltext import load_yaml

    documents = load_yaml(text, str(path)).documents
    return documents[0][0] if len(documents) == 1 else None


def _template(row: Any, name: str, where: str) -> Template:
    """A row with its members checked. Raises InputError naming the file and the member."""
    known = [field.name for field in fields(Template)]
    if not isinstance(row, dict):
        raise InputError("a template is one object with the member `prompt`", None, where)
    for member, value in row.items():
        if member not in known:
            hint = did_you_mean(member, known) or f"members of a template: {', '.join(known)}"
            raise InputError(f"unknown member `{member}`", hint, where)
        if not _fits(member, value):
            wanted = "a text, or a list of texts" if member in PIECES | LISTS else "a text"
            raise InputError(f"`{member}` is not {wanted}{' or a token id' if member in ANSWERS else ''}", None, where)
    texts = {member: BREAK.join([row[member]] if isinstance(row[member], str) else row[member])
             for member in PIECES & set(row)}  # fmt: skip
    lists = {member: tuple(row[member]) for member in LISTS & set(row)}
    template = Template(**{**row, **texts, **lists, "name": name})
    _check(template, where)
    return template


def _fits(member: str, value: Any) -> bool:
    if member in PIECES | LISTS and isinstance(value, list):
        return bool(value) and all(isinstance(piece, str) for piece in value)
    if member in ANSWERS and isinstance(value, int) and not isinstance(value, bool):
        return value >= 0
    return isinstance(value, str) and member not in LISTS


def _check(template: Template, where: str) -> None:
    """Raise InputError for a template that cannot give what it promises."""
    texts = [text for text in (template.prompt, template.instructed) if text is not None]
    for text in texts if not template.refused else ():
        for role in ("query", "document"):
            if role not in text if JINJA.search(text) else f"{{{role}}}" not in text:
                place = f"a message of the role `{role}`" if JINJA.search(text) else f"`{{{role}}}`"
                raise InputError(f"the template has no place for the {role}", f"write {place} where it belongs", where)
    if template.no is not None and template.yes is None:
        raise InputError("`no` is given without `yes`", "name both tokens", where)
    if template.scale == LOG_ODDS and template.yes is not None and template.no is None:
        hint = f"leave `scale` out (it is `{YES_LOGIT}`), or name the `no` token"
        raise InputError("the logit of one token is not log-odds", hint, where)


def chat_of(template: Template, tokens: dict[str, str]) -> Chat:
    """The template as the chat template of a model, whose special tokens are `tokens` (`bos_token` and its like)."""
    name = template.name if template.name in table() else ""
    answers = tuple(token for token in (template.yes, template.no) if token is not None)
    scale = template.scale or ("" if not answers else YES_LOGIT if len(answers) == 1 else LOG_ODDS)
    if JINJA.search(template.prompt):
        structured = any(pattern in template.prompt for pattern in STRUCTURED)
        return Chat("jinja", template.prompt, None, structured, tokens, answers=answers, scale=scale, name=name)
    bos = tokens.get("bos_token", "")
    marks = MARKS | {"bos": "" if bos == tokens.get("pad_token") else bos}  # FlagEmbedding leaves such a one out
    text, instructed = (
        PLACEHOLDER.sub(lambda match: marks[match[1]], one) if one is not None else None
        for one in (template.prompt, template.instructed)
    )
    if text is not None and INSTRUCTION in text:
        instructed = text
        text = text if template.instruction is None else text.replace(INSTRUCTION, template.instruction)
    return Chat("plain", text or "", instructed, answers=answers, scale=scale, name=name)
