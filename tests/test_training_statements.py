"""training/statements.py turns questions into the terse statements that some training lists use as answers."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

TRAINING = str(Path(__file__).parent.parent / "training")


@pytest.fixture(scope="module")
def statement():
    sys.path.insert(0, TRAINING)
    try:
        import statements
    finally:
        sys.path.remove(TRAINING)
    return statements.statement


@pytest.mark.parametrize(
    ("query", "text", "said"),
    [
        ("Who wrote Hamlet?", "The play is by William Shakespeare.", {"William Shakespeare wrote Hamlet."}),
        ("Which planet is red?", "Its rust colours Mars.", {"Mars is red."}),
        (
            "What is the capital of France?",
            "It has been Paris since 987.",
            {"Paris is the capital of France.", "The capital of France is Paris."},
        ),
        ("when did the war end", "It ended in 1945.", {"The war end in 1945."}),
        ("how many legs does a spider have", "There are 8 of them.", {"8 legs does a spider have."}),
        ("Where is the tower?", "It stands in Paris.", {"The tower is in Paris."}),
    ],
)
def test_a_question_becomes_a_statement(statement, query: str, text: str, said: set[str]) -> None:
    assert {statement(query, text, random.Random(seed)) for seed in range(8)} == said


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("Who wrote Hamlet?", "Hamlet is a tragedy."),
        ("undo the last commit", "Use Git."),
        ("Who?", "Ada."),
        ("when did the war end", "Long ago."),
    ],
)
def test_questions_that_cannot_become_statements_give_none(statement, query: str, text: str) -> None:
    assert statement(query, text, random.Random(0)) is None
