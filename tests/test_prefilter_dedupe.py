"""`--prefilter N` with `--dedupe`: repeats of a text take no place of others."""

from __future__ import annotations


def test_repeats_take_no_place_of_others(run) -> None:
    lines = ["disk full on the server"] * 50 + [f"disk {number} of the server" for number in range(20)] + ["rest"] * 9
    result = run("-q", "disk full server", "--prefilter", "10", "--dedupe", "--json", stdin="\n".join(lines))
    assert len(result.json["results"]) == 10
    assert result.json["meta"]["stages"] == [{"stage": "prefilter", "documents": 22, "kept": 10}]
    assert "57 documents repeat the text of an earlier one" in result.err
