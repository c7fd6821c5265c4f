"""Chat templates of rerankers: which one a model has, and its text with placeholders for query and document.

A template is rendered once, with placeholders, and never with a user's text: a document cannot
become template code or a control token. Jinja is imported only for models that bring a Jinja template.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rerank_cli.errors import InputError, ModelError, UsageError, library_errors
from rerank_cli.inside import joined
from rerank_cli.models.facts import Chat
from rerank_cli.models.files import BrokenFileError, optional_json
from rerank_cli.models.templates import DOCUMENT, INSTRUCTION, QUERY, STRUCTURED, chat_of, recognised

if TYPE_CHECKING:
    from rerank_cli.models.templates import Template

FLAT_TYPES = {"apertus", "deepseek_v3", "gpt_oss", "seed_oss"}  # as sentence-transformers has it
TOKEN_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class TemplateForm(NamedTuple):
    """What a repository says of its chat template."""

    name: str = "default"  # which of several
    messages: str = "auto"  # whether contents are text (`flat`) or lists of parts (`structured`)


def find_chat(
    folder: Path,
    config: dict[str, Any],
    names: tuple[str, ...],
    chosen: Template | None = None,
    form: TemplateForm | None = None,
) -> Chat | None:
    """The template that the user chose, else that of the folder if it has both roles, else that of a known family.

    `config` is config.json; `names` are the model's: reference, folder, `_name_or_path`; `form` is what the repository
    says of its own template. With it a template that names no role is taken, too: it may write any message.
    """
    settings = optional_json(folder / "tokenizer_config.json")
    tokens = _token_texts(settings)
    if chosen is not None:
        chat = chat_of(chosen, tokens)
        _check_jinja(chat, chosen.name)
        return chat
    source = template_source(folder, settings, form.name if form else "default")
    row = recognised(config, names)
    with_roles = source is not None and all(re.search(f"[\"']{role}[\"']", source) for role in ("query", "document"))
    if source is not None and (with_roles or (form and not row)):
        flat = config.get("model_type") in FLAT_TYPES or not any(pattern in source for pattern in STRUCTURED)
        if form and form.messages in {"flat", "structured"}:
            flat = form.messages == "flat"
        return Chat("jinja", source, structured=not flat, tokens=tokens)
    return chat_of(row, tokens) if row and not row.refused else None


def template_source(folder: Path, settings: dict[str, Any], name: str = "default") -> str | None:
    """The Jinja source of the template of this name: a .jinja file, chat_template.json, or the tokenizer's settings."""
    file = folder / "chat_template.jinja"
    if name != "default":
        file = joined(folder, f"additional_chat_templates/{name}.jinja")
    if file.is_file():
        try:
            return file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BrokenFileError(f"cannot read {file}: {error}") from error
    source = optional_json(folder / "chat_template.json").get("chat_template") or settings.get("chat_template")
    if isinstance(source, list):  # several named templates
        named = {str(entry.get("name")): entry.get("template") for entry in source if isinstance(entry, dict)}
        return text if isinstance(text := named.get(name), str) else None
    return source if isinstance(source, str) and name == "default" else None


def _token_texts(settings: dict[str, Any]) -> dict[str, str]:
    """Special tokens by the names that templates use."""
    values = {name: settings.get(name) for name in TOKEN_NAMES}
    texts = {name: value.get("content") if isinstance(value, dict) else value for name, value in values.items()}
    return {name: text for name, text in texts.items() if isinstance(text, str)}


def render(chat: Chat, instruction: str | None, where: Path) -> str:
    """The prompt as text with placeholders for query and document. Raises ModelError or UsageError with a hint."""
    if chat.kind == "jinja":
        text = _render_jinja(chat, instruction, where)
    elif instruction is None and INSTRUCTION in chat.text:
        hint = "give it with `--instruction`, or as `instruction` in a template file of YAML"
        raise UsageError(f"the template of {where} needs an instruction", hint)
    elif instruction is None:
        text = chat.text
    elif chat.instructed is None:
        raise _no_instruction(where)
    else:
        text = chat.instructed.replace(INSTRUCTION, instruction)
    for placeholder, role in ((QUERY, "query"), (DOCUMENT, "document")):
        if placeholder not in text:
            message = f"the chat template of {where} drops the {role}: it has no message of the role `{role}`"
            raise ModelError(message, "a reranker's template has the roles `query` and `document`")
    return text


def _check_jinja(chat: Chat, file: str) -> None:
    """Raise InputError for a file of --template whose Jinja is broken: the model is not to blame."""
    if chat.kind == "jinja" and not chat.name:
        hint = "mend the file; `messages` holds the roles `query` and `document`"
        with library_errors(lambda reason: InputError(f"the template cannot be rendered: {reason}", hint, file)):
            _fill(chat, None, Path(file))


def _render_jinja(chat: Chat, instruction: str | None, where: Path) -> str:
    with library_errors(lambda reason: ModelError(f"the chat template of {where} cannot be rendered: {reason}")):
        text = _fill(chat, instruction, where)
    if instruction is not None and instruction not in text:
        raise _no_instruction(where)
    return text


def _fill(chat: Chat, instruction: str | None, where: Path) -> str:
    """The text that Jinja makes. Raises what Jinja raises."""
    roles = [("system", instruction)] if instruction is not None else []
    roles += [("query", QUERY), ("document", DOCUMENT)]
    messages = [{"role": role, "content": [{"type": "text", "text": text}] if chat.structured else text}
                for role, text in roles]  # fmt: skip
    text: str = _environment(where).from_string(chat.text).render(messages=messages, **chat.tokens, **chat.options)
    return text


def _environment(where: Path) -> Any:
    """Jinja as transformers sets it up for chat templates: sandboxed, blocks trimmed."""
    try:
        from jinja2.ext import loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError:
        hint = "install it: pip install 'rerank-cli[torch]'"
        raise ModelError(f"the chat template of {where} needs Jinja", hint) from None

    def refuse(message: str) -> None:
        raise ModelError(f"the chat template of {where} refuses: {message}")

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.globals["raise_exception"] = refuse
    return environment


def _no_instruction(where: Path) -> UsageError:
    return UsageError(f"the prompt of {where} has no place for an instruction", "leave `--instruction` out")


def plain(chat: Chat, where: Path) -> Chat:
    """The same template rendered, for a converted copy: text with placeholders, with and without an instruction."""
    if chat.kind == "plain":
        return chat
    try:
        instructed: str | None = render(chat, INSTRUCTION, where)
    except UsageError:
        instructed = None
    return replace(chat, kind="plain", text=render(chat, None, where), instructed=instructed, tokens={}, options={})
