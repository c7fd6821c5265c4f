"""Chat templates of rerankers: which one a model has, and its text with placeholders for query and document.

A template is rendered once, with placeholders, and never with a user's text: a document cannot
become template code or a control token. Jinja is imported only for models that bring a Jinja template.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rerank_cli.errors import ModelError, UsageError, library_errors
from rerank_cli.models.facts import Chat
from rerank_cli.models.files import BrokenFileError, optional_json

if TYPE_CHECKING:
    from pathlib import Path

# Private-use characters: no text holds them by chance, and no template changes them.
QUERY, DOCUMENT, INSTRUCTION = "\ue000query\ue001", "\ue000document\ue001", "\ue000instruction\ue001"
QWEN3_DEFAULT = "Given a web search query, retrieve relevant passages that answer the query"
# The prompt of the Qwen3-Reranker model card, byte for byte.
QWEN3 = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    "<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}<|im_end|>\n"
    "<|im_start|>assistant\n<think>\n\n</think>\n\n"
)
# Prompts of published models whose repositories hold none: (name, model_type) -> prompt and default instruction.
KNOWN = ((re.compile("qwen3-reranker", re.IGNORECASE), "qwen3", QWEN3, QWEN3_DEFAULT),)
# As sentence-transformers distinguishes the two shapes of a message's content.
STRUCTURED = ("content[0]", ".type", "'type'", '"type"', "item.type", "message.content[")
FLAT_TYPES = {"apertus", "deepseek_v3", "gpt_oss", "seed_oss"}
TOKEN_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def find_chat(folder: Path, model_type: str, names: tuple[str, ...]) -> Chat | None:
    """The template of a folder if it has both roles, else that of a known model, else None.

    `model_type` is that of config.json; `names` are the model's: reference, folder, `_name_or_path`.
    """
    settings = optional_json(folder / "tokenizer_config.json")
    source = template_source(folder, settings)
    if source is not None and "query" in source and "document" in source:
        structured = model_type not in FLAT_TYPES and any(pattern in source for pattern in STRUCTURED)
        return Chat("jinja", source, structured=structured, tokens=_token_texts(settings))
    for pattern, known_type, text, default in KNOWN:
        if known_type == model_type and any(pattern.search(name) for name in names):
            marked = text.format(instruction=INSTRUCTION, query=QUERY, document=DOCUMENT)
            return Chat("plain", marked.replace(INSTRUCTION, default), instructed=marked)
    return None


def template_source(folder: Path, settings: dict[str, Any]) -> str | None:
    """The Jinja source: chat_template.jinja, chat_template.json, or the tokenizer's settings."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        try:
            return file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BrokenFileError(f"cannot read {file}: {error}") from error
    source = optional_json(folder / "chat_template.json").get("chat_template") or settings.get("chat_template")
    if isinstance(source, list):  # several named templates
        named = {str(entry.get("name")): entry.get("template") for entry in source if isinstance(entry, dict)}
        source = named.get("default")
    return source if isinstance(source, str) else None


def _token_texts(settings: dict[str, Any]) -> dict[str, str]:
    """Special tokens by the names that templates use."""
    values = {name: settings.get(name) for name in TOKEN_NAMES}
    texts = {name: value.get("content") if isinstance(value, dict) else value for name, value in values.items()}
    return {name: text for name, text in texts.items() if isinstance(text, str)}


def render(chat: Chat, instruction: str | None, where: Path) -> str:
    """The prompt as text with placeholders for query and document. Raises ModelError or UsageError with a hint."""
    if chat.kind == "jinja":
        text = _render_jinja(chat, instruction, where)
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


def _render_jinja(chat: Chat, instruction: str | None, where: Path) -> str:
    roles = [("system", instruction)] if instruction is not None else []
    roles += [("query", QUERY), ("document", DOCUMENT)]
    messages = [{"role": role, "content": [{"type": "text", "text": text}] if chat.structured else text}
                for role, text in roles]  # fmt: skip
    with library_errors(lambda reason: ModelError(f"the chat template of {where} cannot be rendered: {reason}")):
        text: str = _environment(where).from_string(chat.text).render(messages=messages, **chat.tokens, **chat.options)
    if instruction is not None and instruction not in text:
        raise _no_instruction(where)
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
    return Chat("plain", render(chat, None, where), instructed=instructed)
