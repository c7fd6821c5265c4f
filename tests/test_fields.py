"""What of a document is scored, and its id and prior score; YAML is compared with PyYAML itself."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from readers_support import read

from rerank_cli.errors import InputError
from rerank_cli.field_hints import likely_field
from rerank_cli.fields import build_document, build_document_fast, make_renderer
from rerank_cli.paths import is_absent, lookup
from rerank_cli.records import Source
from rerank_cli.rendering import dump_yaml, yaml_field
from rerank_cli.report import Report
from rerank_cli.settings import FieldSettings


class Plain(yaml.SafeDumper):
    """The oracle: PyYAML's own emitter in Python, without anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def by_pyyaml(value: Any) -> str:
    dumped: str = yaml.dump(value, Dumper=Plain, sort_keys=False, allow_unicode=True, width=float("inf"))
    return dumped


def render(value: Any, **fields: Any) -> tuple[str, int]:
    return make_renderer(FieldSettings(**fields), Report())(value, "f:1")


# Characters and words that YAML treats in its own way, mixed with ordinary ones.
AWKWARD = st.text(
    st.sampled_from("ab  yn:#-'\"\n\n\t,[]{}&*!|>%@`?é\x85\u2028\u3000\ufeff\xa0\x07\x7f012.~=<\\\r_😀٣"), max_size=12
)
YAML_WORDS = (
    "yes No NULL on ~ = << 0x1f 0o7 1e5 1.5 -1 +2 .inf .nan 12:30 2001-12-14 1_000 0b11 --- ... - ? : %a @b y n"
)
YAML_PHRASES = [
    "2001-12-14 21:59:43.10 -5",
    "3 apples",
    "- a",
    "? b",
    "a: b",
    "a #b",
    "a:",
    "'q'",
    '"q"',
    "[a",
    "null ",
]
WORDS = st.sampled_from([*YAML_WORDS.split(), *YAML_PHRASES])
TEXTS = (
    AWKWARD
    | WORDS
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.builds("\n".join, st.lists(WORDS))
)
SCALARS = TEXTS | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6
)


@given(key=st.sampled_from(["title", "a.b", "two words", "Überschrift"]) | TEXTS, text=TEXTS)
@example(key="title", text="")
@example(key="k" * 130, text="a")
@settings(max_examples=150, deadline=None)
def test_a_string_field_is_written_as_pyyaml_writes_it(key: str, text: str) -> None:
    assert yaml_field(key, text) == by_pyyaml({key: text})


@given(value=st.dictionaries(TEXTS, VALUES, min_size=1, max_size=3))
@settings(max_examples=150, deadline=None)
def test_any_value_is_written_as_pyyaml_writes_it(value: dict[str, Any]) -> None:
    assert dump_yaml(value) == by_pyyaml(value)


@given(value=st.dictionaries(TEXTS, VALUES, min_size=1, max_size=4), data=st.data())
@settings(max_examples=150, deadline=None)
def test_rank_fields_give_the_chosen_mapping_in_the_chosen_order(value: dict[str, Any], data: st.DataObject) -> None:
    names = data.draw(st.permutations(list(value)))
    chosen = {name: value[name] for name in names if not is_absent(value[name])}
    fields = FieldSettings(rank_fields=tuple(names))
    if not chosen:
        assert make_renderer(fields, Report())(value, "") == ("", 0)
        with pytest.raises(InputError):
            make_renderer(replace(fields, on_missing="error"), Report())(value, "")
        return
    text, head = make_renderer(fields, Report())(value, "")
    assert text == by_pyyaml(chosen)
    first = next(iter(chosen))
    assert text[:head] == (by_pyyaml({first: chosen[first]}) if len(chosen) > 1 else "")


FIELDS = st.builds(
    FieldSettings,
    rank_fields=st.just(())
    | st.lists(st.sampled_from(["text", "a", "b", "a.b", "id"]), max_size=3, unique=True).map(tuple),
    field_format=st.sampled_from(["yaml", "text"]),
    text_field=st.sampled_from(["text", "a", "a.b"]),
)


@given(
    fields=FIELDS,
    value=st.dictionaries(st.sampled_from(["text", "a", "b", "a.b", "id", "_id", "docid"]), VALUES, max_size=5),
)
@settings(max_examples=150, deadline=None)
def test_the_fast_path_agrees_with_the_slow_path(fields: FieldSettings, value: dict[str, Any]) -> None:
    source = Source("f", "json")
    quick = build_document_fast(fields)(value, 3, b"raw", source)
    if quick is not None:
        assert quick == build_document(fields, Report())(value, "f:1", 3, b"raw", source)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ({"text": "a\nb"}, "a\nb"),
        ({"text": ""}, ""),
        ({"text": 12}, "12"),
        ({"text": 1.5}, "1.5"),
        ({"text": True}, "true"),
        ({"text": ["a", "b", None, 3]}, "a\nb\n3"),
        ({"text": []}, ""),
        ({"text": {"a": 1, "b": ["x"]}}, "a: 1\nb:\n- x\n"),
        ({"text": [{"a": 1}, "x"]}, "- a: 1\n- x\n"),
    ],
)
def test_the_text_field_is_scored_without_its_name(value: Any, text: str) -> None:
    assert render(value) == (text, 0)


def test_numbers_are_scored_exactly() -> None:
    data = b'{"text": 123456789012345678901234567890}\n{"text": [18446744073709551616, 1.10]}\n'
    assert read(data).texts == ["123456789012345678901234567890", "18446744073709551616\n1.1"]
    assert read(data, rank_fields=("text",)).texts[0] == "text: 123456789012345678901234567890\n"


def test_text_format_joins_values_by_newlines() -> None:
    value = {"title": "T", "tags": ["a", "b"], "n": 3, "gone": None}
    fields = ("n", "title", "gone", "missing", "tags")
    assert render(value, rank_fields=fields, field_format="text") == ("3\nT\na\nb", 2)


def test_order_of_fields_matters_and_missing_ones_are_left_out() -> None:
    value = {"a": "x", "b": "y: z", "c": None}
    assert render(value, rank_fields=("b", "a")) == ("b: 'y: z'\na: x\n", 10)
    assert render(value, rank_fields=("a", "c", "d")) == ("a: x\n", 0)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a", {"b": {"c": 1}, "b.d": 2}),
        ("a.b.c", 1),
        ("a.b.d", 2),
        ("x.y", "exact"),
        ("x.z", "nested"),
        ("a.x", None),
        ("list.0", None),
        ("missing", None),
        (".", None),
        ("", None),
    ],
)
def test_dotted_paths_reach_nested_keys_and_exact_keys_win(path: str, found: Any) -> None:
    value = {"a": {"b": {"c": 1}, "b.d": 2}, "x.y": "exact", "x": {"y": "no", "z": "nested"}, "list": ["a"]}
    assert lookup(value, path) == found


def test_dotted_rank_fields_keep_their_path_as_key() -> None:
    value = {"meta": {"title": "T"}, "body": "B"}
    assert render(value, rank_fields=("meta.title", "body")) == ("meta.title: T\nbody: B\n", 14)


@pytest.mark.parametrize(
    ("record", "settings", "known"),
    [
        ({"id": "a", "_id": "b"}, {}, "a"),
        ({"id": None, "_id": 7}, {}, "7"),
        ({"id": 1.5, "docid": "d"}, {}, "1.5"),
        ({"id": True}, {}, None),
        ({}, {}, None),
        ({"id": 0}, {}, "0"),
        ({"id": "", "_id": "b"}, {}, "b"),
        ({"id": ""}, {}, None),
        ({"id": 2**70}, {}, str(2**70)),
        ({"meta": {"key": "k"}}, {"id_fields": ("meta.key",)}, "k"),
        ({"id": "caf\u00e9 \ud800"}, {}, "café \ufffd"),
    ],
)
def test_the_id_is_the_first_text_or_number_of_the_id_fields(record: Any, settings: Any, known: str | None) -> None:
    data = json.dumps({"text": "t", **record}).encode()
    assert read(data, **settings).ids == [known]
    assert read(b"[" + data + b"]", **settings).ids == [known]
    assert read(data, rank_fields=("text",), **settings).ids == [known]


@pytest.mark.parametrize(("given_", "prior"), [(3, 3.0), ("-1.5e3", -1500.0), (0, 0.0), (2**70, float(2**70))])
def test_a_prior_score_is_a_number_or_its_text(given_: Any, prior: float) -> None:
    assert read(json.dumps({"text": "t", "s": given_}).encode(), prior_field="s").documents[0].prior == prior


@pytest.mark.parametrize("given_", [None, "", "x", True, [1], "nan", "inf"])
def test_other_values_are_not_prior_scores(given_: Any) -> None:
    with pytest.raises(InputError, match=r"<stdin>:1: prior field `s`"):
        read(json.dumps({"text": "t", "s": given_}).encode(), prior_field="s")


def test_lone_surrogates_are_replaced_and_counted_once_per_document() -> None:
    data = b'{"a":"x\\ud800","b":"\\udfff"}\n{"a":"fine","b":"\xc3\xa9"}\n'
    reading = read(data, rank_fields=("a", "b"))
    assert reading.texts == ["a: x\ufffd\nb: \ufffd\n", "a: fine\nb: é\n"]
    assert reading.report.counts == {"replaced_surrogates": 1}
    whole = b'[{"a":"x\\ud800","b":"y"}]'
    assert read(whole, rank_fields=("a", "b")).texts == ["a: x\ufffd\nb: y\n"]
    nested = b'{"text":["\\ud800",{"\\udc00":1}]}'
    assert read(nested).texts == ["- \ufffd\n- \ufffd: 1\n"]


@pytest.mark.parametrize(
    ("wanted", "value", "likely"),
    [
        ("text", {"id": "1", "body": "b"}, "body"),
        ("text", {"Title": "t", "Content": "c"}, "Content"),
        ("text", {"txt": "t", "content": "c"}, "txt"),
        ("title", {"titel": "t", "body": "b"}, "titel"),
        ("text", {"a": "short", "zz": "the longest of them"}, "zz"),
        ("text", {"a": 1}, None),
        ("text", {}, None),
    ],
)
def test_the_likely_field_is_suggested(wanted: str, value: dict[str, Any], likely: str | None) -> None:
    assert likely_field(wanted, value) == likely


def test_values_of_callers_own_types_become_text() -> None:
    assert render({"d": dt.date(2001, 12, 14), "t": (1, 2)}, rank_fields=("d", "t"))[0].startswith("d: ")
    assert render({"text": dt.date(2001, 12, 14)}) == ("2001-12-14", 0)
