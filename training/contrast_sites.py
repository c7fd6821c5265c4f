"""The places of a sentence that may be changed, by name, number, negation or word; its tables are in contrasts.yaml."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Random = random.Random

FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        """a an and are as at be been by did do does for had has have he her his i in into is it its of on or she
        that the their them there these they this those to was were what which who will would""",
    )
)
OPENING = frozenset(
    re.findall(r"\w+", "a an the in on at it he she they this that these his her its as for by from with there")
)
NAME = re.compile(r"\b[A-Z][\w'’-]*[A-Za-z](?: [A-Z][\w'’-]*[A-Za-z])*")
NUMBER = re.compile(
    r"(?<![\w.,:/–-])(?:\d{4}-\d\d-\d\d|\d{1,2}:\d\d|[$€£]?\d{1,3}(?:,\d{3})+(?:\.\d+)?|[$€£]?\d+(?:\.\d+)*)"
    r"(?:%|s\b|st\b|nd\b|rd\b|th\b)?(?![\w/–-]|[.,:]\d)"
)
WORD_NUMBERS = re.findall(
    r"\w+", "two three four five six seven eight nine ten eleven twelve fifteen twenty thirty forty fifty"
)
MONTHS = r"(?:January|February|March|April|May|June|July|August|September|October|November|December)"
NOT_IN = re.compile(
    r"\b(is|are|was|were|can|could|will|would|should) (?!(?:not|never|only|also|no|nothing|none|cannot|hardly|it"
    r"|there|a few|still|now|to|often|usually|sometimes|more|less|either|both|that|if|when|how|what|one of"
    r"|because)\b)(?=[a-z])"
)
NOT_OUT = re.compile(
    r"\b(?:(is|are|was|were|could|will|would|should|has|have|had|do|does|did|can) ?not|never) (?!only|just)"
)
WITH = re.compile(  # words before "with" that call for it
    r"(?:\b(?:along|together|begins?|began|start|starts|beginning|starting|deals?|dealing|consistent|accordance|agree"
    r"|agrees|conjunction|familiar|contact|up|away|out|alliance|interact|interferes?|comply|cope|struggle|begun|on|off"
    r"|and|or|as|line|war|peace|agreement|treaty|relations?|connection|cooperation|collaboration|work|works|comes|match"
    r"|in|popular|problems?|trouble|helps?|ends?)|\w+(?:ed|ing)) $",
    re.IGNORECASE,
)
PLACING = {"in", "by", "from", "at", "near", "with"}
FIXED = re.compile(  # set phrases that have no opposite
    r"known (?:as|for|to|by|from)\b|with (?:which|whom|both|respect|regard|or|and)\b|connect\w* to"
    r"|before long|after all",
    re.IGNORECASE,
)
ASKED = re.compile(r"(?:is|are|was|were|can|do|does|did|has|have|will|would|should|could)\b.*\?$", re.IGNORECASE)
PEOPLE = re.compile(
    r" (?:people|m[ae]n|wom[ae]n|americans?|popul|persons?|students?|families|voters|communit)", re.IGNORECASE
)
ENTITY_LISTS = re.findall(r"\w+", "country city people first_name surname month weekday system language browser format")


class Site(NamedTuple):
    """A place of a sentence and what may stand there: as it is written, then other values of its kind."""

    kind: str
    start: int
    end: int
    versions: list[str]


class Pool(NamedTuple):
    """The sentences, those that hold each of the rarer words, and the names by what they look like."""

    sentences: Sequence[str]
    holding: dict[str, list[int]]
    names: dict[tuple[Any, ...], list[str]]


@cache
def tables() -> dict[str, dict[str, Any]]:
    """Sections, names and texts of contrasts.yaml; values are single lines or blocks of lines."""
    read: dict[str, dict[str, Any]] = {}
    path: list[Any] = [read]
    block, depth = [], 99
    for line in Path(__file__).with_name("contrasts.yaml").read_text(encoding="utf-8").splitlines():
        indent = len(line) - len(line.lstrip())
        if indent > depth:
            block.append(line.strip())
        elif line.strip() and line[0] != "#":
            name, _, value = line.strip().partition(":")
            path, depth, block = path[: indent // 2 + 1], 99, []
            path[-1][name] = {} if not value else value.strip(' "')
            if value == " |":
                path[-1][name], depth = block, indent
            path.append(path[-1][name])
    return read


@cache
def values(name: str, heldout: bool | None = None) -> list[str]:
    """A list of values: all of it, or the part for training or for checking, where it is long enough to be parted."""
    text = tables()["lists"][name]
    text = " ".join(text) if isinstance(text, list) else text
    span = re.fullmatch(r"(\d+)\.\.(\d+)(?: by (\d+))?", text)
    if span:
        found = [str(n) for n in range(int(span[1]), int(span[2]) + 1, int(span[3] or 1))]
    else:
        found = [v.strip() for v in text.split(";" if ";" in text else ",")]
    return found if heldout is None or len(found) < 12 else [v for i, v in enumerate(found) if (i % 4 == 3) == heldout]


@cache
def pairs(section: str, name: str) -> list[tuple[str, str]]:
    """Word pairs of a table."""
    found = [p.strip().split("/") for p in " ".join(tables()[section][name]).split(",")]
    return [(a, b) for a, b in found]


@cache
def whole(word: str) -> re.Pattern[str]:
    """The word or phrase as a whole, in any case."""
    return re.compile(rf"(?<![\w'-]){re.escape(word)}(?![\w'-])", re.IGNORECASE)


def words(text: str) -> list[str]:
    """The words of a text in small letters, without their stops."""
    return re.findall(r"[\w$€£%]+(?:[.,:'’-]\w+)*%?", text.lower().replace("’", "'"))


def content(text: str) -> set[str]:
    """The words that carry meaning."""
    return set(words(text)) - FUNCTION_WORDS


def covered(query: str, text: str) -> float:
    """The share of the query's words that the text holds."""
    asked = content(query)
    return len(asked & set(words(text))) / max(1, len(asked))


def like(written: str, word: str) -> str:
    """The word with a capital where the one it replaces has one."""
    if written.isupper() and len(written) > 1:
        return word.upper()
    return word[0].upper() + word[1:] if written[0].isupper() else word


def name_type(text: str, match: re.Match[str]) -> tuple[Any, ...]:
    """What a name looks like: a person, or its word count, its letters, a telling last word, the words beside it."""
    parts = match[0].split()
    if len(parts) > 1 and parts[0] in values("first_name"):
        return ("person", len(parts))
    before = (text[: match.start()].split()[-1:] or [""])[0].lower().strip('"(')
    if len(parts) > 1:
        return (len(parts), match[0].isupper(), before if before in PLACING else "", parts[-1])
    after = re.match(r" ?(\w+|\W?)", text[match.end() :])
    return (match[0].isupper(), match[0].endswith(("'s", "’s")), before, after[1] if after else "")


def names(text: str) -> Iterator[re.Match[str]]:
    """Names inside a sentence, none in titles and shouting; the first word counts only with others."""
    tokens = text.split()
    if sum(t[0].isupper() for t in tokens) > 0.5 * len(tokens) or "\n" in text:
        return
    for match in NAME.finditer(text):
        first = not match.start() or text[: match.start()].rstrip()[-1:] in '.:?!"(“'
        if not (first and (" " not in match[0] or match[0].split()[0].lower() in OPENING)):
            within = re.search(r"(?:[-/'’.]|\b(?:de|la|von|van|el|al|du|del|di|da)) ?$", text[: match.start()])
            if not within and not re.match(r"[-/]| [A-Z(]", text[match.end() :]):
                yield match


def gathered(sentences: Sequence[str]) -> Pool:
    """The pool of these sentences."""
    holding, found = defaultdict(list), defaultdict(set)
    listed = {v for name in ENTITY_LISTS for v in values(name)} | {"March", "May", "I"}
    for i, text in enumerate(sentences):
        for word in content(text):
            holding[word].append(i)
        for match in names(text):
            if match[0] not in listed:
                found[name_type(text, match)].add(match[0])
    rare = {w: at for w, at in holding.items() if 1 < len(at) <= max(50, len(sentences) // 200)}
    return Pool(sentences, rare, {k: sorted(v) for k, v in found.items() if len(v) >= 6})


def other_number(number: str, text: str, match: re.Match[str], rng: Random) -> str:
    """Another number of the same form: a date for a date, a year for a year, as many digits otherwise."""
    before, after = text[: match.start()], text[match.end() :]
    dated = re.search(MONTHS + " $", before) or re.match(" " + MONTHS, after)
    if re.fullmatch(r"\d{4}-\d\d-\d\d", number):
        day, month = f"{rng.randint(1, 28):02}", f"{rng.randint(1, 12):02}"
        return number[:8] + day if rng.random() < 0.5 else f"{number[:5]}{month}-{number[8:]}"
    if re.fullmatch(r"\d{1,2}:\d\d", number):
        return f"{rng.randint(1, 23):0{number.index(':')}}:{rng.choice((number[-2:], '15', '40'))}"
    year = re.fullmatch(r"(1[1-9]\d\d|20[0-4]\d)(s?)", number)
    if year:
        step = rng.choice((10, 20, 30)) if year[2] else rng.choice((1, 1, 2, 3, 4, 5, 7, 8, 10, 12, 15, 20, 30))
        return f"{min(int(year[1]) + rng.choice((-1, 1)) * step, 2029)}{year[2]}"
    if dated and len(number) < 3:
        return str(rng.randint(2, 28))
    ordinal = re.fullmatch(r"(\d+)(st|nd|rd|th)", number)
    if ordinal:
        n = max(1, int(ordinal[1]) + rng.choice((-5, -4, -3, -2, -1, 1, 2, 3, 4, 5)))
        return f"{n}{'th' if n % 100 in {11, 12, 13} else {1: 'st', 2: 'nd', 3: 'rd'}.get(n % 10, 'th')}"
    if number.startswith("100"):
        return number.replace("100", str(rng.randint(11, 99)), 1)
    head, zeros = re.fullmatch(r"(.*?)((?:[,0]*0)?\D*)", number).groups()  # type: ignore[union-attr]
    if re.fullmatch(r"[1-9]\d", number):
        return str(max(2, int(number) + rng.choice((-1, 1)) * rng.randint(1, 9)))
    drawn = "".join(str(rng.randint(1, 9)) if c.isdigit() else c for c in head)
    return drawn + zeros


def number_sites(text: str, rng: Random) -> Iterator[Site]:
    """Numbers in digits and words that stand once in the sentence."""
    for match in NUMBER.finditer(text):
        number = match[0]
        if number in {"0", "1"} or len(re.findall(rf"(?<!\d){re.escape(number)}(?!\d)", text)) > 1:
            continue
        made = [other_number(number, text, match, rng) for _ in range(12)]
        yield Site("number", match.start(), match.end(), [number, *dict.fromkeys(m for m in made if m not in text)])
    for match in re.finditer(rf"\b(?:{'|'.join(WORD_NUMBERS)})\b(?!-)", text):
        made = rng.sample([w for w in WORD_NUMBERS if not whole(w).search(text)], 4)
        yield Site("number", match.start(), match.end(), [match[0], *made])


def name_sites(text: str, pool: Pool, rng: Random) -> Iterator[Site]:
    """Names that stand once in the sentence, with others of their list, or of the same looks, and colours and units."""
    listed = [(n, "entity") for n in ENTITY_LISTS] + [("colour", "word"), ("unit", "word")]
    taken: list[tuple[int, int]] = []
    for name, kind in listed:
        for match in re.finditer(r"\b(?:" + "|".join(map(re.escape, values(name))) + r")\b(?![-'’]| [A-Z])", text):
            before, after = text[: match.start()], text[match.end() :]
            if re.search(r"[A-Z][\w.]* $|[-/]$", before) or (name == "unit" and not re.search(r"\d\)? $", before)):
                continue
            if name == "colour" and PEOPLE.match(after):
                continue
            fit = [v for v in values(name) if v not in text]
            taken.append(match.span())
            yield Site(kind, *match.span(), [match[0], *rng.sample(fit, min(6, len(fit)))])
    for match in names(text):
        known = set(words(match[0])) & set(words(text[: match.start()] + " " + text[match.end() :]))
        fit = pool.names.get(name_type(text, match), ())
        fit = [v for v in fit if not content(v) & content(text)]
        if len(fit) > 4 and not known and not any(match.start() < b and a < match.end() for a, b in taken):
            yield Site("entity", *match.span(), [match[0], *rng.sample(fit, 5)])


def pair_sites(text: str) -> Iterator[Site]:
    """Words of the table of opposites, where the opposite does not stand in the sentence as well."""
    for kind in ("word",) if ASKED.match(text) else ("word", "negation"):
        for both in pairs("antonyms", kind):
            for word, other in (both, both[::-1]):
                found = list(whole(word).finditer(text))
                if len(found) != 1 or whole(other.split()[-1]).search(text.replace(found[0][0], "")):
                    continue
                match = found[0]
                if {word, other} == {"with", "without"} and WITH.search(text[: match.start()] or "along "):
                    continue
                if FIXED.match(match[0] + text[match.end() :]) or re.search(" [A-Z]", match[0]):
                    continue
                yield Site(kind, *match.span(), [match[0], like(match[0], other)])


def not_sites(text: str) -> Iterator[Site]:
    """Places of plain statements where a "not" may come in or go."""
    if not text.endswith(".") or re.search(r"[?\n]|^(?:Is|Are|Was|Were|Can|Do|Does|If|When|What|How|Which)\b", text):
        return
    if len(NOT_OUT.findall(text)) == 1:
        match = NOT_OUT.search(text)
        kept = (match[1] if match[1] not in {"do", None} else "") if match else ""
        if (
            match
            and match[1] not in {"does", "did"}
            and not re.search(r"\b(?:any|anymore|yet|ever|neither|nor)\b", text)
        ):
            yield Site("negation", match.start(), match.end(), [match[0], kept + " " * bool(kept)])
    elif not re.search(r"\b(?:no|not|never|nothing|without|neither|some)\b|n't\b", text):
        for match in NOT_IN.finditer(text):
            if not re.search(r"\b(?:there|what|than|as|who|which|that) $", text[: match.start()].lower()):
                added = "cannot " if match[1] == "can" else match[1] + " not "
                yield Site("negation", match.start(), match.end(), [match[0], added])


def sites(text: str, pool: Pool, rng: Random) -> list[Site]:
    """All places that may be changed, each with at least one other version that reads well after "a" and "an"."""
    found = []
    for site in [*number_sites(text, rng), *name_sites(text, pool, rng), *pair_sites(text), *not_sites(text)]:
        fit = site.versions[1:]
        if re.search(r"\ban? $", text[: site.start], re.IGNORECASE):
            fit = [v for v in fit if (v[0] in "aeiouAEIOU8") == (text[: site.start].lower().endswith("an "))]
        if fit:
            found.append(site._replace(versions=[site.versions[0], *fit[:5]]))
    return found
