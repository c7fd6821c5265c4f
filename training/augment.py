"""From a mined list to what one step sees: windows, negatives, traps, query noise, rendering; seeded by position.

It knows texts only: no token ids, tensors or losses. `cos` is the miner's cosine of the passage as it was mined, also
where the text was edited since (`MADE`); None for traps and what no cosine is known of.
"""

from __future__ import annotations

import random
import re
from typing import Any, NamedTuple

from statements import statement

Random = random.Random

QUESTIONS = {"squad", "squad_sentences", "nq_gold", "qed"}  # sources whose questions ask for a name or a number
EXACT = {"contrasts", "country_facts", "table_rows", "log_events"}  # their queries and texts differ in a word or number
MADE = {"stated", "swap"}  # kinds of texts that the cosine of their passage does not judge
TWO_SIDED = {"contrasts", "near_duplicates"}  # they bring copies of the query themselves

FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        """a about an and are as at be been by can could did do does for from had has have how i if in into is it its
        many me much my of on or should so that the their them there these they this to was were what when where which
        who whom whose why will with would you your""",
    )
)
ENTITY = re.compile(r"\b(?:[A-Z][\w'-]+(?:\s+[A-Z][\w'-]+)*|\d[\d,.]*\d|\d)\b")
KINDS = ("emails", "documents", "tickets", "messages", "posts", "articles", "reviews", "reports", "notes", "comments")
ASKING = (
    "{kind} about {what}",
    "Which {kind} are about {what}?",
    "find {kind} that mention {what}",
    "all {kind} on {what}",
)
FIELDS = (("Title", "Content"), ("title", "body"), ("Subject", "Body"), ("name", "description"), ("title", "text"))
ONE_FIELD = ("title", "text", "message", "description", "name", "summary", "question", "subject", "content")
EXTRA = {  # fields that tell nothing
    "id": ("17", "A-204", "9917", "doc-3", "5f3c"),
    "date": ("2024-03-18", "2019-11-02", "2025-07-30T08:12:44Z"),
    "status": ("open", "closed", "draft", "active"),
    "author": ("J. Meyer", "admin", "ops-team", "R. Silva"),
    "lang": ("en", "English"),
    "version": ("1.4.2", "3.0", "v2"),
}
PUNCTUATION = ("...", "-", "?", "N/A", "###", "* * *", "", "n/a.", "!!!", "<br>", "[]", ", , ,")


class Shown(NamedTuple):
    """One document of a list as the model sees it; the first of a list is the positive."""

    text: str
    kind: str
    cos: float | None


class Ranked(NamedTuple):
    """One training list: a query, its positive first, its negatives; `twin`: the query in an equivalent form."""

    query: str
    documents: list[Shown]
    twin: str = ""


def content_words(text: str) -> list[str]:
    """Words of a query that are no function words, as written."""
    return [w for w in re.findall(r"[\w$#+.'-]+", text) if w.lower().strip(".'") not in FUNCTION_WORDS]


def window(record: dict[str, Any], rng: Random) -> Shown:
    """The answer's passage with a random part of what stands around it; seldom another passage."""
    own = record["positives"]
    at = rng.randrange(len(own)) if rng.random() < 0.05 else record["best"]
    text = own[at]["text"]
    if at and rng.random() < 0.35:
        text = " ".join(own[at - 1]["text"].split()[-rng.randint(5, 25) :]) + " " + text
    if at + 1 < len(own) and rng.random() < 0.35:
        text += " " + " ".join(own[at + 1]["text"].split()[: rng.randint(5, 25)])
    return Shown(text, "positive", own[at]["cos"])


def stated(record: dict[str, Any], positive: Shown, rng: Random) -> Shown | None:
    """The answer as a terse statement in the question's words, where the question allows one."""
    said = statement(record["query"], positive.text, rng) if record["source"] in QUESTIONS else None
    return Shown(said, "stated", positive.cos) if said else None


def crop(text: str, words: int, query: str, rng: Random) -> str:
    """About `words` words of a text, at a random place around the sentence that shares most with the query.

    Positives and negatives are cut alike, so that neither length nor a cut end tells them apart.
    """
    split = text.split()
    if len(split) <= words * 1.2:
        return text
    asked = {w.lower() for w in content_words(query)}
    starts = [0, *(i + 1 for i, w in enumerate(split[:-1]) if w[-1] in ".!?")]
    ends = [*starts[1:], len(split)]
    hits = [len({w.lower().strip(".,;:()?!") for w in split[a:b]} & asked) for a, b in zip(starts, ends, strict=True)]
    best = max(range(len(starts)), key=lambda i: (hits[i], -i))
    low, high = max(0, ends[best] - words), min(starts[best], len(split) - words)
    at = rng.randint(min(low, high), max(low, high))
    return " ".join(split[max(0, at) : max(0, at) + words])


def distracted(positive: Shown, other: str, rng: Random) -> Shown:
    """The positive inside the text of another document: the answer counts wherever it stands."""
    words = other.split()[: rng.randint(10, 40)]
    cut = rng.randint(0, len(words))
    return Shown(" ".join([*words[:cut], positive.text, *words[cut:]]), "distracted", positive.cos)


def swapped(query: str, positive: Shown, others: list[str], rng: Random) -> Shown | None:
    """The positive with an entity or number that the question names replaced: it now speaks of something else."""
    asked = set(re.findall(r"\w+", query.lower())) - FUNCTION_WORDS
    found = [m for m in ENTITY.findall(positive.text) if set(re.findall(r"\w+", m.lower())) & asked]
    if not found:
        return None
    entity = rng.choice(found)
    number = entity[0].isdigit()
    pool = [m for text in others for m in ENTITY.findall(text) if m[0].isdigit() == number]
    pool = [m for m in pool if not set(re.findall(r"\w+", m.lower())) & asked and m.lower() not in FUNCTION_WORDS]
    if number:
        pool.append(str(rng.randint(1, 2100)))
    if not pool:
        return None
    return Shown(positive.text.replace(entity, rng.choice(pool)), "swap", positive.cos)


def trap(query: str, rng: Random) -> Shown:
    """What a lexical or cosine matcher falls for: keyword soup, punctuation, nothing. The query's own text is none."""
    words = content_words(query) or query.split()
    if len(words) > 2 and rng.random() < 0.7:
        soup = [rng.choice(words) for _ in range(rng.randint(len(words), 4 * len(words) + 2))]
        return Shown(rng.choice((" ", ", ")).join(soup), "soup", None)
    return Shown(rng.choice(PUNCTUATION), "punctuation", None)


def echo(query: str, positive: Shown, rng: Random) -> Shown:
    """The query itself as the answer, as duplicate questions, titles and log lines are: as it is or lightly edited."""
    forms = (query, query, query.rstrip("?. "), query.lower(), query.title(), f"{query} {positive.text}")
    return Shown(rng.choice(forms), "echo", 1.0)


def noisy(query: str, rng: Random, config: dict[str, Any]) -> str:
    """The query, without its question mark, its keywords only, or with one slip of the keyboard."""
    if rng.random() < config["unmarked"]:
        query = query.rstrip("? ") or query
    if rng.random() < config["keywords"]:
        words = content_words(query)
        return " ".join(words) if len(words) >= 2 else query
    if rng.random() < config["typos"] and len(query) > 12:
        at = rng.randrange(1, len(query) - 2)
        return rng.choice((query[:at] + query[at + 1] + query[at] + query[at + 2 :], query[:at] + query[at + 1 :]))
    return query


def asked_for(query: str, documents: list[Shown], rng: Random) -> tuple[str, list[Shown]]:
    """The query as a search for a kind of document, whose name then stands in a negative too and tells nothing."""
    kind, at = rng.choice(KINDS), rng.randrange(1, len(documents))
    words = documents[at].text.split()
    words.insert(rng.randint(0, min(8, len(words))), rng.choice((kind, kind[:-1])))
    shown = [*documents[:at], documents[at]._replace(text=" ".join(words)), *documents[at + 1 :]]
    return rng.choice(ASKING).format(kind=kind, what=" ".join(content_words(query)) or query), shown


def rendered(documents: list[Shown], rng: Random) -> list[Shown]:
    """All documents as records, as `--rank-fields` renders them: one field, or title and body, perhaps others."""
    if rng.random() < 0.4:
        name = rng.choice(ONE_FIELD)
        return [d._replace(text=f"{name}: {d.text}\n") for d in documents]
    head, body = rng.choice(FIELDS)
    extra = rng.sample(sorted(EXTRA), rng.choice((0, 0, 1, 2)))
    result = []
    for shown in documents:
        title, dot, rest = shown.text.partition(". ")
        if not dot or len(title.split()) > 12 or not rest:
            title, rest = " ".join(shown.text.split()[: rng.randint(2, 6)]), shown.text
        lines = [f"{head}: {title}", f"{body}: {rest}"]
        for name in extra:
            lines.insert(rng.randint(0, len(lines)), f"{name}: {rng.choice(EXTRA[name])}")
        result.append(shown._replace(text="\n".join(lines) + "\n"))
    return result


def negatives(record: dict[str, Any], positive: Shown, rng: Random, config: dict[str, Any]) -> list[Shown]:
    """One negative fewer than `documents`: the source's own, dense, BM25, same page, perhaps a swap or trap, random."""
    pools: dict[str, list[Shown]] = {}
    for n in record["negatives"]:
        pools.setdefault(n["kind"], []).append(Shown(n["text"], n["kind"], n["cos"]))
    for pool in pools.values():
        rng.shuffle(pool)
    chosen: list[Shown] = []
    if rng.random() < config["traps"]:
        chosen.append(trap(record["query"], rng))
    if record["source"] not in EXACT and positive.kind == "positive" and rng.random() < config["swap"]:
        made = swapped(record["query"], positive, [n["text"] for n in record["negatives"]], rng)
        chosen += [made] if made else []
    for kind in config["negatives"]:
        if len(chosen) < config["documents"] - 1 and pools.get(kind):
            chosen.append(pools[kind].pop())
    return chosen


def answer(record: dict[str, Any], rng: Random, config: dict[str, Any]) -> Shown:
    """The positive of the list: a passage, a terse statement, or the query itself."""
    positive = window(record, rng)
    if rng.random() < config["stated"]:
        positive = stated(record, positive, rng) or positive
    if record["source"] not in TWO_SIDED and rng.random() < config["echo"]:
        positive = echo(record["query"], positive, rng)
    return positive


def build(record: dict[str, Any], seed: str, config: dict[str, Any]) -> Ranked:
    """The list as shown at this position of the training order; the same seed gives the same list."""
    rng = Random(seed)
    positive = answer(record, rng, config)
    exact = record["source"] in EXACT  # what differs in a word stays as it is
    documents = [positive, *negatives(record, positive, rng, config)]
    words = config["words_long"] if rng.random() < config["long"] else config["words"]
    if rng.random() < config["short"]:
        words = config["words_short"]
    documents = [d._replace(text=crop(d.text, words, record["query"], rng)) for d in documents]
    if rng.random() < config["distractors"] and not exact:
        others = [d.text for d in documents[1:] if d.kind == "random"] or [record["negatives"][-1]["text"]]
        documents[0] = distracted(documents[0], others[0], rng)
    if rng.random() < config["rendered"]:
        documents = rendered(documents, rng)
    query = record["query"] if exact else noisy(record["query"], rng, config)
    if rng.random() < config["kinds"] and not exact:
        query, documents = asked_for(record["query"], documents, rng)
    paired = query.endswith("?") and rng.random() < config["twins"]
    return Ranked(query, documents, query.rstrip("? ") if paired else "")
