"""Values as text: bare, or as one YAML field exactly as PyYAML would write it, most of them without importing PyYAML.

It knows values only; `fields` decides which of them are scored.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from rerank_cli.errors import InputError

# What YAML 1.1 would read as another type, and what its emitter escapes or breaks lines at.
_RESERVED = frozenset({"yes", "no", "true", "false", "on", "off", "null"})
_SPECIAL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
_DIGIT_TEXT = re.compile(r"[0-9][^\n]*[g-su-wyG-SU-WY]")  # a letter that no number, base prefix or date has
_BREAKS = re.compile(r"\n+")
_C_DIFFERS = re.compile('\\\\r|[\x85\u2028\u2029\U00010000-\U0010ffff]|""')  # in JSON text: see dump_yaml


def bare(value: Any, where: str = "") -> str:
    """A value as plain text: strings as they are, numbers as in JSON, lists by line, mappings as YAML."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    if isinstance(value, (list, tuple)) and not any(isinstance(item, (list, tuple, dict)) for item in value):
        return "\n".join(bare(item) for item in value if item is not None)
    if isinstance(value, (list, tuple, dict)):
        return dump_yaml(value, where)
    return str(value)


def dump_yaml(value: Any, where: str = "") -> str:
    """What `yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=inf)` gives, without anchors.

    The C emitter is ten times faster but escapes what lies beyond the basic plane, and differs around U+0085, carriage
    returns and empty keys; those take the Python emitter.
    """
    import json

    import yaml

    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
        dumper = _dumper(python=bool(_C_DIFFERS.search(text)))
        dumped: str = yaml.dump(value, Dumper=dumper, sort_keys=False, allow_unicode=True, width=2**31 - 1)
    except (RecursionError, ValueError) as exc:
        hint = "name a field inside it, as in `--rank-fields outer.inner`"
        raise InputError("a field is nested too deeply to render as YAML", hint, where or None) from exc
    return dumped


@lru_cache
def _dumper(*, python: bool) -> Any:
    import yaml

    base = yaml.SafeDumper if python else getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    dumper: Any = type("FieldDumper", (base,), {"ignore_aliases": lambda _self, _data: True})
    dumper.add_multi_representer(object, lambda self, data: self.represent_str(str(data)))  # dates and such, of callers
    return dumper


def yaml_string(text: str, indent: str = "  ") -> str | None:
    """A string as PyYAML's emitter writes it as a block mapping's value, or None where only PyYAML knows.

    `isprintable` and `in` decide for most texts: a regular expression over a kilobyte takes ten times as long.
    """
    broken = "\n" in text
    flat = text.replace("\n", "") if broken else text
    if not flat.isprintable() and _SPECIAL.search(flat):
        return None
    if text and not (broken or ": " in text or " #" in text or text[-1] in ": "):
        first = text[0]
        if first.isalpha():
            if len(text) > 5 or text.lower() not in _RESERVED:
                return text
        elif first.isdecimal() and _DIGIT_TEXT.match(text):
            return text
        elif first not in "\"'#,[]{}&*!|>%@` ":
            return None  # numbers, dates, `-`, `?`, `.`, `~` …: PyYAML's resolvers decide
    quoted = text.replace("'", "''")
    if broken:
        if " \n" in text or "\n " in text:
            return None
        quoted = _BREAKS.sub(lambda breaks: "\n" + breaks.group() + indent, quoted)
    return f"'{quoted}'"


def yaml_field(name: str, item: Any, where: str = "") -> str:
    """One line (or more) of a block mapping: what `dump_yaml({name: item})` gives, mostly without PyYAML."""
    scalar = yaml_string(item) if isinstance(item, str) else None
    key = simple_key(name) if scalar is not None else ""
    return f"{key}: {scalar}\n" if key else dump_yaml({name: item}, where)


@lru_cache
def simple_key(name: str) -> str:
    """The name as a key of a block mapping, empty where only PyYAML knows how to write it."""
    return name if len(name) <= 100 and "\n" not in name and yaml_string(name) == name else ""
