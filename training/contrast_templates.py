"""Records made of the templates of contrasts.yaml, and what stands around a document. It knows texts only.

A held-out part of the templates and of their words is kept for checking.
"""

from __future__ import annotations

import random
import re
from typing import Any

from contrast_sites import tables, values, words

Random = random.Random

SLOT = re.compile(r"<([a-z_]+\d?)>")


def wrapping(beside: str, rng: Random, share: float = 0.55) -> str:
    """What stands around a document, "{}" being its own text; often nothing."""
    if rng.random() > share:
        return "{}"
    beside = beside.replace("{", "(").replace("}", ")")
    if not beside or rng.random() < 0.3:
        return f"{rng.choice(values('prefix'))} {{}}"
    return rng.choice((f"{beside} {{}}", f"{{}} {beside}"))


def wrapped(text: str, around: str) -> str:
    """The document in its surroundings; a full stop parts it from what follows."""
    return around.format(text if around.endswith("{}") or text[-1] in ".!?" else text + ".")


def distinct(query: str, positive: str, negatives: list[str]) -> list[str]:
    """The negatives that are no copies of the positive, the query or each other, up to seven."""
    seen, kept = {tuple(words(positive)), tuple(words(query))}, []
    for text in negatives:
        key = tuple(words(text))
        if key not in seen:
            kept.append(text)
            seen.add(key)
    return kept[:7]


def base(slot: str) -> str:
    """The list that a slot is filled from."""
    return re.sub(r"_(below|above)$", "", slot).rstrip("0123456789")


def filled(template: str, slots: dict[str, str], heldout: bool, rng: Random) -> str:
    """The template with its slots filled, from `slots` where they are there, which is completed."""

    def value(match: re.Match[str]) -> str:
        slot, pool = match[1], values(base(match[1]), heldout)
        if slot.endswith(("_below", "_above")):
            at = pool.index(slots[base(slot)])
            near = pool[max(0, at - 8) : at] if slot.endswith("_below") else pool[at + 1 : at + 9]
            return rng.choice(near)
        if slot not in slots:
            taken = {v for k, v in slots.items() if base(k) == base(slot)}
            middle = pool[2:-2] if pool[0].isdigit() and len(pool) > 6 else pool  # leaves some below and above
            slots[slot] = rng.choice([v for v in middle if v not in taken])
        return slots[slot]

    text = SLOT.sub(value, template)
    text = re.sub(r"\b([Aa]) (?=[aeioAEIO](?!ne\b)|8|11\b|18\b|un[^i])", r"\1n ", text)
    return text[0].upper() + text[1:] if template[0] == "<" and template[-1] == "." else text


def ways(family: dict[str, Any], asked: str, two: bool) -> list[str]:
    """How a document of the family may be wrong for the query: the other pole, exchanged names, another value."""
    named = SLOT.findall(asked)
    swap = family.get("swap", "").split()
    found = ["pole"] * two + ["swap"] * (bool(swap) and set(swap) <= set(named))
    return found + [s for s in family["change"].split() if s in named]


def wronged(way: str, slots: dict[str, str], family: dict[str, Any], heldout: bool, rng: Random) -> dict[str, str]:
    """The slots, changed in this way."""
    changed = dict(slots)
    if way == "swap":
        one, two = family["swap"].split()
        changed[one], changed[two] = slots[two], slots[one]
    elif way != "pole":
        taken = {v for k, v in slots.items() if base(k) == base(way)}
        changed[way] = rng.choice([v for v in values(base(way), heldout) if v not in taken])
    return changed


def told_texts(
    family: dict[str, Any], told: list[list[str]], order: list[str], slots: dict[str, str], rng: Random
) -> list[str]:
    """The right document, its twin that is wrong in one way, and more that are wrong in the wording of any line."""
    heldout, at, asked = "heldout" in family, rng.randrange(len(family["tell"])), dict(slots)
    texts = [filled(told[0][at], slots, heldout, rng)]
    for i in range(rng.randint(3, 5)):
        way = order[i % len(order)]
        line = told[way == "pole"][at if i == 0 else rng.randrange(len(family["tell"]))]
        texts.append(filled(line, wronged(way, slots if i < 2 else asked, family, heldout, rng), heldout, rng))
    return texts


def family_record(family: dict[str, Any], others: list[dict[str, Any]], heldout: bool, rng: Random) -> dict[str, Any]:
    """A record of this family, with two documents of others."""
    poles = [(family["ask"], family["tell"]), (family.get("ask_not", []), family.get("tell_not", []))]
    two = bool(poles[1][0])
    if two:
        rng.shuffle(poles)
    slots: dict[str, str] = {}
    asked = rng.choice(poles[0][0])
    query = filled(asked, slots, heldout, rng)
    order = ways(family, asked, two)
    kept = 1 if order[0] in {"pole", "swap"} else 0
    order = order[:kept] + rng.sample(order[kept:], len(order) - kept)
    texts = told_texts(family, [poles[0][1], poles[1][1]], order, slots, rng)
    far = rng.sample(others, 2)
    texts += [filled(rng.choice(f["tell"]), background(f, heldout, rng), heldout, rng) for f in far]
    around = wrapping(rng.choice(values("filler")), rng, 0.3)
    edges = [wrapping(rng.choice(values("filler")), rng, 0.3) if rng.random() < 0.4 else around for _ in texts[2:]]
    shown = [wrapped(t, edge) for t, edge in zip(texts, [around, around, *edges], strict=True)]
    query = rng.choice((query, query, query, query.lower()))
    negatives = distinct(query, shown[0], shown[1:])
    return {"query": query, "positives": shown[:1], "negatives": negatives, "kind": family["kind"]}


def background(family: dict[str, Any], heldout: bool, rng: Random) -> dict[str, str]:
    """Slots of a family that stands for texts on something else."""
    slots: dict[str, str] = {}
    filled(rng.choice(family["ask"]), slots, heldout, rng)
    return slots


def template_records(seed: str, count: int, heldout: bool) -> list[dict[str, Any]]:
    """Records made of templates; the held-out ones use other templates, and other words where a list is long enough."""
    rng = Random(f"templates {seed}")
    families = [f for f in tables()["families"].values() if ("heldout" in f) == heldout]
    made: list[dict[str, Any]] = []
    while len(made) < count:
        for family in rng.sample(families, len(families)):
            record = family_record(family, [f for f in families if f is not family], heldout, rng)
            if len(record["negatives"]) >= 4:
                made.append(record)
    return made[:count]
