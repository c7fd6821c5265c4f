"""The order in a chat model's reply: in every form that models use; what is no order is none."""

from __future__ import annotations

import pytest

from rerank_cli.scorers.remote.order import read_order

WHOLE = {
    "as asked": "[2] > [3] > [1]",
    "commas": "[2], [3], [1]",
    "no separators": "[2][3][1]",
    "one per line": "[2]\n[3]\n[1]",
    "a list": "- [2]\n- [3]\n- [1]",
    "a numbered list": "1. [2]\n2. [3]\n3. [1]",
    "a numbered list of bare numbers": "1. 2\n2. 3\n3. 1",
    "a numbered list with words": "1. Passage [2] is about it\n2. then passage [3]\n3. last passage [1]",
    "bare numbers": "2 > 3 > 1",
    "bare numbers with commas": "2,3,1",
    "a JSON array": "[2, 3, 1]",
    "a JSON array of texts": '["2", "3", "1"]',
    "JSON in a fence": '```json\n{"ranking": [2, 3, 1]}\n```',
    "words around it": "Here is the ranking of the 3 passages: [2] > [3] > [1]. I hope it helps!",
    "words with identifiers before it": "Passage [1] is off topic.\n\nFinal ranking: [2] > [3] > [1]",
    "the last of two": "At first I thought [1] > [2] > [3]. But no: [2] > [3] > [1]",
    "thoughts": "<think>\nMaybe [1] > [2] > [3]? Rather not.\n</think>\n\n[2] > [3] > [1]",
    "thoughts without their start": "Maybe [1] > [2] > [3]?\n</think>\n[2] > [3] > [1]",
    "longer thoughts without their start": "[1] > [2] > [3] > [1]? No.\n</think>\n[2] > [3] > [1]",
    "bold": "**[2]** > **[3]** > **[1]**",
    "and": "[2], [3] and [1]",
    "equal signs": "[2] >= [3] = [1]",
    "blanks in brackets": "[ 2 ] > [ 3 ] > [ 1 ]",
}


@pytest.mark.parametrize("text", WHOLE.values(), ids=WHOLE)
def test_a_ranking_in_any_form_needs_no_repair(text):
    assert read_order(text, 3) == ([1, 2, 0], 0, 0, 0, True)


REPAIRED = {
    "a repeat": ("[2] > [2] > [1] > [3]", ([1, 0, 2], 0, 1, 0)),
    "a number that no passage has": ("[2] > [9] > [1] > [3] > [0]", ([1, 0, 2], 2, 0, 0)),
    "one is missing": ("[3] > [1]", ([2, 0, 1], 0, 0, 1)),
    "only the best": ("[3]", ([2, 0, 1], 0, 0, 2)),
    "a bare number alone": (" 3.\n", ([2, 0, 1], 0, 0, 2)),
    "cut in the middle": ("[3] > [", ([2, 0, 1], 0, 0, 2)),
    "all of it at once": ("[3] > [3] > [7] > [3]", ([2, 0, 1], 1, 2, 2)),
    "identifiers in prose only": ("I like [3] most, while [1] is weaker.", ([2, 0, 1], 0, 0, 1)),
}


@pytest.mark.parametrize(("text", "wanted"), REPAIRED.values(), ids=REPAIRED)
def test_what_is_wrong_is_repaired_and_counted(text, wanted):
    assert read_order(text, 3) == (*wanted, True)


NONE = {
    "nothing": "",
    "a refusal": "I'm sorry, but I can't help with that.",
    "numbers in prose": "All 3 passages are about 20 things, so I cannot rank them.",
    "only unknown numbers": "[7] > [8] > [9]",
    "thoughts that never end": "<think>Let me compare [1] > [2] > [3] once more",
    "decimals": "0.93",
    "an endless number": "[" + "1" * 5000 + "]",
}


@pytest.mark.parametrize("text", NONE.values(), ids=NONE)
def test_a_reply_without_a_ranking_keeps_the_order(text):
    found = read_order(text, 3)
    assert (found.places, found.usable) == ([0, 1, 2], False)


@pytest.mark.parametrize("gap", [" ", ">", "a", "\n", "[ ", "<think>"])
def test_long_replies_take_no_long_time(gap):
    assert sorted(read_order(f"[1]{gap * 100_000}[2]", 2).places) == [0, 1]
