"""Log lines of one event, as training records: which lines tell of the same event, whatever their values.

A record has a query (a log line, a bare error message, a plain description or key words), one line of the same
template with other values, and seven other lines: four of other templates of the same program, two of them with the
query's own values and two that look like its neighbours in time, and three of other programs. Programs are split into a
training and a held-out half in loglines.txt beside this module. Templates were written by hand after the software they
name; values are drawn independently, so a line may be right in form and odd in fact. It knows no real logs.
"""

from __future__ import annotations

import random
import re
from functools import cache
from typing import Any

from logvalues import PLACEHOLDER, Template, Values, load

LEVELS = {"D": "debug", "I": "info", "N": "notice", "W": "warn", "E": "error", "F": "fatal"}
PYTHON_LEVELS = {"D": "DEBUG", "I": "INFO", "N": "INFO", "W": "WARNING", "F": "CRITICAL"}
POSTGRES_LEVELS = {"D": "DEBUG", "I": "LOG", "N": "NOTICE", "W": "WARNING"}
MYSQL_LEVELS = {"I": "System", "N": "Note", "W": "Warning"}
STOP_WORDS = frozenset(
    re.findall(
        r"\w+", "a an the is of for by to its in on with over from after at was be and has have it this that who as"
    )
)


def with_frame(template: Template) -> str:
    """The template's message inside its program's prefix, level and logger filled in."""
    code, frame, level = template.level, template.frame, LEVELS[template.level]
    for name, value in (
        ("{logger}", template.logger),
        ("{L}", code),
        ("{level}", level),
        ("{LEVEL}", level.upper()),
        ("{LEVELNAME}", PYTHON_LEVELS.get(code, "ERROR")),
        ("{PGLEVEL}", POSTGRES_LEVELS.get(code, level.upper())),
        ("{MYLEVEL}", MYSQL_LEVELS.get(code, "ERROR")),
    ):
        frame = frame.replace(name, value)
    if "<line>" in frame:
        return frame.replace("<line>", template.text)
    return f"{frame} {template.text}"


def render(template: Template, values: Values, prefix: bool) -> str:
    """One line of a template."""
    text = with_frame(template) if prefix else template.text
    text = text.replace("{logger}", template.logger)
    return PLACEHOLDER.sub(values.fill, text).strip()


def content_words(text: str) -> set[str]:
    """The words of a text without stop words and endings, for a rough likeness."""
    return {w[:5] for w in re.findall(r"[a-z]{3,}", text.lower()) if w not in STOP_WORDS}


@cache
def alike(one: Template, other: Template) -> bool:
    """Whether templates of two programs seem to tell of the same kind of event."""
    if one.family == other.family:
        return True
    wanted = content_words(one.description or one.text)
    found = content_words(other.description + " " + other.text)
    return len(wanted & found) >= (1 if len(wanted) < 3 else max(2, len(wanted) * 0.4))


def describe(template: Template, rng: random.Random) -> str:
    """A description of the event in words, or its key words."""
    text = template.description
    if rng.random() < 0.4:
        words = [w.strip(",") for w in text.split() if w not in STOP_WORDS]
        if rng.random() < 0.5:
            rng.shuffle(words)
        text = " ".join(words)
    if rng.random() < 0.2 and template.program not in text:
        text = f"{template.program} {text}" if rng.random() < 0.5 else f"{template.program}: {text}"
    return text


def choose(programs: dict[str, list[Template]], kind: str, rng: random.Random) -> Template:
    """A template that fits the kind of query, every program equally likely."""
    names = list(programs)
    while True:
        fitting = [
            t
            for t in programs[rng.choice(names)]
            if (kind != "description" or t.description) and (kind != "error" or t.level in "WEF")
        ]
        if fitting:
            return rng.choice(fitting)


def add_line(template: Template, values: Values, prefix: bool, lines: list[str]) -> None:
    """Append a line that is not there yet; a prefix or fresh values set apart equal ones."""
    line = render(template, values, prefix)
    while line in lines:
        values, prefix = Values(values.rng), True
        line = render(template, values, prefix)
    lines.append(line)


def negatives_of(template: Template, programs: dict[str, list[Template]], rng: random.Random) -> tuple[list, list]:
    """Four other templates of the same program, and three of three other programs."""
    siblings = rng.sample([t for t in programs[template.program] if t != template], 4)
    strangers: list[Template] = []
    names = [name for name in programs if name != template.program]
    rng.shuffle(names)
    for name in names:
        fitting = [t for t in programs[name] if not alike(template, t)]
        if fitting:
            strangers.append(rng.choice(fitting))
        if len(strangers) == 3:
            break
    return siblings, strangers


def one_record(programs: dict[str, list[Template]], rng: random.Random) -> dict[str, Any]:
    """Draw a template and its query, its positive and its negatives."""
    kind = rng.choices(["description", "error", "line"], [25, 15, 60])[0]
    template = choose(programs, kind, rng)
    values = Values(rng)
    query_prefix = kind != "error" and rng.random() < 0.5
    prefix = kind == "error" or query_prefix or (kind == "line" and rng.random() < 0.15)
    query = render(template, values, query_prefix)
    lines = [query]
    positive_values = Values(rng)
    if kind == "description":
        query, lines, positive_values = describe(template, rng), [], values
    else:
        if rng.random() < 0.4:  # else a shared value would betray a negative
            positive_values = values.near(0.4)
        while render(template, positive_values, False) == render(template, values, False):
            positive_values = Values(rng)
    add_line(template, positive_values, prefix, lines)
    positive = lines[-1]
    siblings, strangers = negatives_of(template, programs, rng)
    shared = [values, values, values.near(0.5), values.near(0.2), values, values.near(0.5), Values(rng)]
    for other, its_values in zip(siblings + strangers, shared, strict=True):
        add_line(other, its_values, prefix, lines)
    negatives = lines[-7:]
    rng.shuffle(negatives)
    return {"query": query, "positives": [positive], "negatives": negatives}


def records(seed: int, count: int, heldout: bool) -> list[dict[str, Any]]:
    """Make count records from the training programs, or from the held-out ones."""
    half = "heldout" if heldout else "train"
    rng = random.Random(f"loglines {half} {seed}")
    programs = load()[1][half]
    return [one_record(programs, rng) for _ in range(count)]


if __name__ == "__main__":
    for record in records(1, 5, False):
        print("QUERY ", record["query"], "\n  POS ", record["positives"][0])
        for negative in record["negatives"]:
            print("  NEG ", negative)
