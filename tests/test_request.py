"""The one table of request members: it agrees with `RequestOptions`, and every API reads what it knows, no more."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_args

import pytest

from rerank_cli.records import RequestOptions
from rerank_cli.request import MEMBERS, Api, MemberError, members_of, read_options
from rerank_cli.server.adapters import ADAPTERS

READ = {"string", "count", "boolean", "names", "id"}


def test_each_option_has_a_member_and_each_member_that_is_read_an_option() -> None:
    options = {member.field or member.name for member in MEMBERS if member.type in READ}
    assert options == {field.name for field in fields(RequestOptions)}


def test_every_api_has_an_adapter_that_reads_its_documents() -> None:
    assert {"file", *(adapter.api for adapter in ADAPTERS)} == set(get_args(Api))
    for adapter in ADAPTERS:
        assert members_of(adapter.api)[adapter.documents].type == "documents"


def test_a_request_means_the_same_in_a_file_and_over_http() -> None:
    values = {"query": "q", "top_n": 2, "rank_fields": ["b", "a"], "return_documents": False, "max_tokens_per_doc": 9}
    assert read_options(values, "file") == read_options(values, "rerank", lenient=True)


def test_an_api_passes_over_what_it_does_not_know() -> None:
    values: dict[str, Any] = {"query": "q", "return_text": True, "model": 7, "top_n": None}
    assert read_options(values, "tei") == RequestOptions(query="q", return_documents=True)


@pytest.mark.parametrize(
    ("value", "strict", "lenient"),
    [({"top_n": 5.0}, "type", 5), ({"return_documents": "True"}, "type", True), ({"top_n": True}, "type", "type"),
     ({"top_n": 0}, "below minimum", "below minimum"), ({"top_n": 2.5}, "type", "type"), ({"return_documents": "x"}, "type", "type")],
)  # fmt: skip
def test_http_clients_are_read_leniently(value: dict[str, Any], strict: str, lenient: Any) -> None:
    (name,) = value
    with pytest.raises(MemberError) as caught:
        read_options(value, "file")
    assert (caught.value.member.name, caught.value.problem) == (name, strict)
    try:
        read = getattr(read_options(value, "rerank", lenient=True), name)
    except MemberError as error:
        read = error.problem
    assert read == lenient
