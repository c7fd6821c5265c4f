"""Records in which the right document and the wrong ones differ in one name, number, negation or word only.

They come from sentences of the collections, one place of which is changed, and from templates. Which version of a
sentence is true plays no part: the right one is the one that the query asks for. It knows texts only.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from contrast_sites import FUNCTION_WORDS, OPENING, content, covered, gathered, like, pairs, sites, whole, words
from contrast_templates import distinct, template_records, wrapped, wrapping

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contrast_sites import Pool, Site

Random = random.Random

WEIGHTS = {"entity": 5, "number": 2, "word": 2, "negation": 2}
COPIES, TEMPLATES = 0.12, 0.4  # shares: positives that are the query's copy; records made of templates
HANGING = frozenset(
    re.findall(r"\w+", "not than because where when but with without before after about over under if may can")
)
CLAUSES = re.compile(r"([^,]{15,}?),? (because|when|if|although|while|after|before|since) ([^,]{12,})\.")
PLAIN = ("same", "contraction", "synonym", "order")  # forms that say all of the sentence in good English
TERSE = ("lower", "articles", "keywords", "short")


def lowered(text: str) -> str:
    """The sentence without its capital, where its first word is no name."""
    return text[0].lower() + text[1:] if text.split(maxsplit=1)[0].lower() in OPENING else text


def replaced(text: str, table: list[tuple[str, str]], fixed: set[str]) -> str:
    """The text with up to two words of the table put in other words, but for fixed ones."""
    left = 2
    for word, other in table:
        match = whole(word).search(text) if left else None
        if match and not set(words(match[0])) & fixed and not whole(other).search(text):
            text = text[: match.start()] + like(match[0], other) + text[match.end() :]
            left -= 1
    return text


def contractions() -> list[tuple[str, str]]:
    """Short forms for long ones, and the other way round."""
    table = pairs("synonyms", "contraction")
    return table + [(b, a) for a, b in table]


def keywords(text: str, start: int, end: int) -> str:
    """The words that carry meaning, about ten of them around the changed place."""
    kept = [
        (m.start(), m[0].strip('.,;:()?!"“”'))
        for m in re.finditer(r"\S+", text)
        if (m.start() < end and m.end() > start) or m[0].lower().strip('.,;:()?!"') not in FUNCTION_WORDS
    ]
    at = next((i for i, (begin, word) in enumerate(kept) if begin + len(word) > start), 0)
    low = max(0, at - 5)
    return " ".join(word for _, word in kept[low : low + 10] if word)


def short(text: str, start: int, end: int, rng: Random) -> str | None:
    """Three to eight words around the changed place, within its clause, or None where too little is said."""
    before = re.split(r"[,;:()?!\"“”]\s|[.]\s|\n", text[:start])[-1]
    after = re.split(r"[,;:()?!\"“”]|[.](?:\s|$)|\n", text[end:])[0]
    left, right = re.findall(r"\s*\S+\s*", before), re.findall(r"\s*\S+\s*", after)
    left, right = left[len(left) - min(len(left), rng.randint(2, 4)) :], right[: rng.randint(1, 4)]
    while left and left[0].strip().lower() in FUNCTION_WORDS | {"but", "than", "because"}:
        left = left[1:]
    while right and right[-1].strip().lower() in FUNCTION_WORDS | HANGING:
        right = right[:-1]
    cut = "".join([*left, text[start:end], *right]).strip()
    said = content("".join(left) + " " + "".join(right))
    said = {w for w in said if len(w) > 2 and w.isalpha()}
    return " ".join(cut.split()) if len(said) > 1 and 3 <= len(cut.split()) <= 10 else None


def rephrased(text: str, span: tuple[int, int], form: str, fixed: set[str], rng: Random) -> str:
    """The text in this form, or as it is where the form does not apply."""
    if form == "contraction":
        return replaced(text, contractions(), set())
    if form == "synonym":
        return replaced(text, pairs("synonyms", "word"), fixed)
    if form == "order":
        match = CLAUSES.fullmatch(text)
        return f"{match[2].capitalize()} {match[3]}, {lowered(match[1])}." if match else text
    if form == "articles":
        bare = re.sub(r"\b(?:the|an|a) (?=\w)", "", text, flags=re.IGNORECASE).rstrip(".")
        return bare[:1].upper() + bare[1:]
    if form == "lower":
        return text.lower().rstrip(".")
    if form == "question":
        return rng.choice(("Is it true that {}?", "{}?", "Where does it say that {}?")).format(
            lowered(text).rstrip(".")
        )
    if form == "keywords":
        return keywords(text, *span)
    if form == "short":
        return short(text, *span, rng) or text
    return text


def query_form(text: str, site: Site, rng: Random) -> str:
    """A form for the query that fits the sentence; a negated sentence would answer a yes-or-no question too."""
    sentence = text.endswith((".", "!")) and "\n" not in text
    pool = ["same"] * 4 + ["lower"] * 2
    if sentence:
        pool += ["contraction", "contraction", "synonym", "synonym", "synonym", "order", "order", "articles"]
        if site.kind in {"number", "entity"}:
            pool.append("question")
    if len(text.split()) > 5:
        pool += ["keywords"] * 2
    if site.kind in {"number", "entity"} or {"with", "without"} <= {v.lower() for v in site.versions}:
        pool += ["short"] * 5
    return rng.choice(pool)


def put(text: str, site: Site, version: str) -> tuple[str, tuple[int, int]]:
    """The sentence with this version at the place, and where it stands."""
    made = text[: site.start] + version + text[site.end :]
    if not site.start:
        made = made[:1].upper() + made[1:]
    return made, (site.start, site.start + len(version))


def neighbour(at: int, pool: Pool, site: Site, query: str, rng: Random) -> str:
    """The sentence before or after, where it is a plain one and says nothing of what was asked."""
    beside = at + rng.choice((-1, 1))
    if not 0 <= beside < len(pool.sentences):
        return ""
    text = pool.sentences[beside]
    told = {w for v in site.versions for w in content(v)} & set(words(text))
    good = text.endswith((".", "!", "?")) and "\n" not in text and len(text.split()) <= 35
    return text if good and not told and covered(query, text) < 0.5 else ""


def further(
    right: tuple[str, tuple[int, int]], found: list[Site], site: Site, query: tuple[str, str], rng: Random
) -> list[str]:
    """The right version with another place changed that the query, given with its form, names as well."""
    (text, span), form = right, query[1]
    made, told = [], set(words(query[0]))
    for other in found if form != "short" else []:
        apart = other.end <= site.start or other.start >= site.end
        if apart and set(words(other.versions[0])) <= told and (form != "keywords" or content(other.versions[0])):
            moved = span[1] - site.end if other.start >= site.end else 0
            moved_site = other._replace(start=other.start + moved, end=other.end + moved)
            made.append(
                (other.kind != site.kind, rng.random(), put(text, moved_site, rng.choice(other.versions[1:]))[0])
            )
    return [text for _, _, text in sorted(made)]


def similar(at: int, pool: Pool) -> list[str]:
    """The sentences that share most of the rarer words, best first, without copies."""
    text = pool.sentences[at]
    shared = Counter(i for w in sorted(content(text)) for i in pool.holding.get(w, ()) if i != at)
    best = [pool.sentences[i] for i, _ in shared.most_common(8)]
    return [b for b in best if covered(text, b) < 0.7 and covered(b, text) < 0.8]


def other_sentences(at: int, pool: Pool, query: str, count: int, rng: Random) -> list[str]:
    """One that shares most words, then random ones; none that says nearly all that the query says."""
    question = pool.sentences[at].endswith("?")  # a statement might answer it
    near = [s for s in similar(at, pool) if covered(query, s) < 0.6 and not (question and s.endswith("."))][:1]
    drawn = (rng.choice(pool.sentences) for _ in range(20))
    return [*near, *(s for s in drawn if covered(query, s) < 0.5)][:count]


def asked(text: str, site: Site, version: str, fixed: set[str], rng: Random) -> tuple[str, str] | None:
    """The query for this version and its form, or None where the query does not tell the version any more."""
    made, span = put(text, site, version)
    form = query_form(text, site, rng)
    query = rephrased(made, span, form, fixed, rng)
    long = replaced(query.lower(), [(b, a) for a, b in pairs("synonyms", "contraction")], set())
    told = set(words(version)) <= {*words(query), *words(long)}
    if not told or len(query.split()) < 3 or (form == "short" and query == made):
        return None
    return query, form


def sentence_record(at: int, pool: Pool, rng: Random) -> dict[str, Any] | None:
    """A record made from this sentence, or None where nothing in it can be changed well."""
    text = pool.sentences[at]
    found = sites(text, pool, rng)
    if not found:
        return None
    site = rng.choices(found, [WEIGHTS[s.kind] for s in found])[0]
    want = rng.randrange(2)
    versions = [site.versions[want], site.versions[1 - want], *site.versions[2:]]
    fixed = {w for v in versions for w in words(v)}
    query, form = asked(text, site, versions[0], fixed, rng) or ("", "")
    if not query:
        return None
    right, *wrong = [put(text, site, v) for v in versions]
    copy = form not in {"short", "question"} and rng.random() < COPIES
    around = "{}" if copy else wrapping(neighbour(at, pool, site, query, rng), rng)
    shape = form if copy else rng.choice((*PLAIN, "same"))
    positive = query if copy else wrapped(rephrased(*right, shape, fixed, rng), around)
    wrong = wrong[: rng.randint(2, 3)]
    wrong += [(t, site[1:3]) for t in further(right, found, site, (query, form), rng)][: 3 - len(wrong)]
    wrong = wrong if len(wrong) > 1 else wrong * 2
    negatives = []
    for i, (version, span) in enumerate(wrong):
        same = i == 0 or rng.random() < 0.5
        edge = around if same else wrapping(neighbour(at, pool, site, query, rng), rng)
        negatives.append(wrapped(rephrased(version, span, shape if same else rng.choice(PLAIN), fixed, rng), edge))
    others = other_sentences(at, pool, query, rng.randint(2, 3) + (len(wrong) < 3), rng)
    negatives += [wrapped(other, around if around == "{}" else wrapping("", rng)) for other in others]
    negatives = distinct(query, positive, negatives)
    record = {"query": query, "positives": [positive], "negatives": negatives, "kind": site.kind}
    return record if len(negatives) >= 4 else None


def records(sentences: Sequence[str], seed: str, count: int) -> list[dict[str, Any]]:
    """Records for training, from the sentences, which stand in the order of their texts, and from templates."""
    rng = Random(f"contrasts {seed}")
    pool = gathered([s.strip() for s in sentences if 4 <= len(s.split()) <= 45])
    made = template_records(seed, round(TEMPLATES * count), heldout=False)
    tries = 0
    while len(made) < count and tries < 20 and pool.sentences:
        tries += 1
        for at in rng.sample(range(len(pool.sentences)), len(pool.sentences)):
            record = sentence_record(at, pool, rng) if len(made) < count else None
            made += [record] if record else []
    rng.shuffle(made)
    return made
