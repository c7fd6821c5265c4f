"""Documents without the field to score, and without an id: what is said of them."""

from __future__ import annotations

import pytest

LACKS = '{"id":"a","body":"loans"}\n{"id":"b","txt":"loans"}\n{"id":"c","body":""}\n{"id":"d","headline":"x"}\n'


@pytest.mark.parametrize(("argv", "said"), [
    (("--text-field", "body"), "3 documents are empty: they have no score and come last (2 have no `body`)"),
    (("--rank-fields", "body,txt"), "2 documents are empty: they have no score and come last (1 has no field of `body`, `txt`)"),
    (("--rank-fields", "body,txt,headline"), "1 document is empty: it has no score and comes last"),
    (("--text-field", "body", "--on-missing", "skip"), "3 documents are empty: left out (--on-missing skip) (2 have no `body`)"),
    (("--text-field", "body", "-n", "1"), "3 documents are empty: they have no score and come last (2 have no `body`)"),
])  # fmt: skip
def test_the_warning_says_which_field_a_document_lacks(run, free, argv: tuple[str, ...], said: str) -> None:
    result = run("-q", "q", "-f", "ids", *argv, stdin=LACKS)
    assert (result.code, result.err) == (0, f"rerank: warning: {said}\n")
    assert run("-q", "q", "--json", *argv, stdin=LACKS).json["meta"]["warnings"] == [said]


def test_one_document_lacks_its_field(run, free) -> None:
    text = '{"headline":"x","txt":"y"}\n{"body":"x"}\n'
    assert "comes last (it has no `body`)\n" in run("-q", "q", "--text-field", "body", stdin=text).err


def test_empty_cells_and_lines_are_empty(run, free) -> None:
    for text in ("id,text\n1,\n2,x\n", '""\n"x"\n'):
        assert "1 document is empty: it has no score and comes last\n" in run("-q", "q", stdin=text).err


@pytest.mark.parametrize("form", ["ids", "trec"])
def test_positions_in_place_of_ids_are_a_note(run, free, tmp_path, form: str) -> None:
    (tmp_path / "a.txt").write_text("3 a\n2 b\n")
    (tmp_path / "b.jsonl").write_text('{"text":"1 c"}\n{"id":"x","text":"0 d"}\n')
    result = run("-q", "q", "-f", form, tmp_path / "a.txt", tmp_path / "b.jsonl")
    assert [line.split()[-1 if form == "ids" else 2] for line in result.lines] == ["0", "1", "2", "x"]
    note = "rerank: note: 3 documents have no id: their position is used, counted from 0 over all inputs\n"
    assert result.err == note
    assert run("-q", "q", "-f", form, "--quiet", tmp_path / "a.txt").err == ""
