"""A coarse look at languages: is a text mostly in something other than English?

Scripts are recognised by letters; languages in Latin letters by their function words. Code, names, titles and short
lines have few of those, so nothing is said of them. It costs a millisecond at most.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LAST_LATIN = 0x024F  # end of Latin Extended-B
LAST_VIETNAMESE = 0x1EFF  # Latin Extended Additional, 0x1E00 on
SAMPLE = 400  # characters of each text
MAX_TEXTS = 16  # that are looked at for function words from the start, and as many spread over the rest
MIN_WORDS, MIN_DISTINCT = 3, 2  # function words that only one language has, in all and different ones
MIN_SHARE = 0.15  # of all words
ACCENTED = 0.25  # share of words with accents with which one such function word will do
# Words between blanks and punctuation: no parts of identifiers, paths, addresses or calls.
_WORD = re.compile(r"(?<![\w.@/\\$%#&:-])[^\W\d_]+(?![\w@/\\(=:]|[.-]\w)")

ENGLISH = frozenset(
    (  # noqa: SIM905 a list of words reads better as a text
        "the and are that with this from you have been what which were their they would there about how why when where "
        "who does not your can will its his her has had of to is it be by or at if was for on"
    ).split()
)
# Before the bar: words that English, names and code do not have. After it: words that count only beside those.
WORDS = {
    "German": "und ist nicht ein eine einen einer auf für sich auch wird werden sind bei nach zum zur oder wie "
    "ich wir dass wenn kann wurde haben durch über sein warum welche muss keine beim vom noch nur | der "
    "die das den dem des im zu es von als an in er sie man so was hat war um am mit aus wo",
    "French": "une dans qui que pas avec sont cette nous vous mais aux été être leur elle ils comme où très "
    "quelle quel quelles quels ces chez depuis peut fait aussi cet dont je sur mon votre notre ont "
    "était | les des le la du de et un en par ne ce se au il est pour son sa ses comment plus on si "
    "tout ou sans",
    "Spanish": "que una por como está más pero este esta sus cuando también sobre qué cómo dónde muy hay porque "
    "fue desde cada han puede según cuál ser todos donde tiene están había nuestro | el la los las de y "
    "en un se es lo no del al con para si su son a ha o e sin entre",
    "Portuguese": "não uma são está pelo pela muito você também foi mais quando qual ser seu sua pode tem até como "
    "que às já isso esta este nos depois onde porque | o a os as de do da dos das em no na um ao para "
    "com por se e é ou mas",
    "Italian": "che della nel più anche gli questo alla delle perché sono dei una nella degli dal essere viene "
    "questa quale dove quando ogni molto stato hanno può sul dalla | il lo la di da un in e è non con "
    "per le i al del si ha a ad o se ma come",
    "Dutch": "het een zijn niet voor ook deze worden naar bij aan wordt maar hij dit heeft hoe waarom waar uit "
    "zich hun nog geen kunnen werd moet | de van en in is op te dat met die of er om als over was tot "
    "door zo wat kan",
    "Swedish": "och att är för inte på ett från så vad hur när eller också blir vara finns varför många | det den "
    "en av med till har i om de jag du man vi kan var som",
    "Danish": "og ikke på af er det blev være også hvordan hvad efter eller når hvor fra skal jeg | den en et de "
    "med for har i om man vi var at til som kan",
    "Norwegian": "og ikke på av er det ble være også hvordan hva etter eller når hvor fra skal jeg blir | den en et "
    "de med for har i om man vi var til som kan",
    "Finnish": "ja että oli ovat mutta joka hän myös niin kuin mitä miten missä voi tämä olla | on se en he ei kun "
    "tai ole sen jos",
    "Polish": "nie się jest że jak dla przez są oraz który która które czy tego już był była było może tylko "
    "gdzie dlaczego jego być ten przy jednak można | na do w z i o a za to co ze po od ale",
    "Czech": "není že jsou který která které jako být podle když bylo byl jak také aby jeho nebo jen při kde "
    "proč může už | je se na v s z k do od po i a o za to pro ale",
    "Slovak": "nie je že sú ktorý ktorá ktoré ako byť podľa keď bolo bol tiež aby jeho alebo len pri kde prečo "
    "môže už | sa na v s z k do od po i a o za to pre ale",
    "Hungarian": "és nem egy hogy volt csak vagy azt ezt hogyan milyen mert amely lehet ami két már még is minden "
    "hol miért | az a ez van meg mint ha",
    "Romanian": "și este în pentru care nu din sunt fost această prin după cum unde mai fi sau dacă acest poate "
    "între | cu la de un o pe a se ca ce",
    "Turkish": "ve bir için ile çok daha olarak olan değil gibi kadar nasıl nerede neden hangi olduğu sonra ise "
    "veya | bu ne mi da de o en",
    "Croatian": "nije kao što koji koja koje ili samo gdje zašto kako bila bilo može prema također | je se na u i "
    "za da s o a to su ali bio od po",
    "Indonesian": "yang untuk dengan tidak dari adalah dalam akan bisa juga atau oleh sebagai karena bagaimana apa "
    "mengapa dapat tersebut | dan di ke pada ini itu ada mana",
    "Vietnamese": "và của là có không được một những người các này trong đã với như khi thế nào để ở từ tại nhiều | "
    "cho ra hai",
    "Catalan": "amb és una els dels també aquest aquesta què quan són més molt pel ser seva seu | el la les de i "
    "en un que es al a o hi com per",
    "Lithuanian": "kad iš buvo kaip jis arba nėra kodėl | į o ne po ir yra su tai bet kur",
    "Latvian": "kas bija kā vai arī kāpēc viņš | uz par pie ir un nav ar no bet kur tas",
    "Estonian": "ja oli ning kes kus miks aga või | et ta ei see mis kui ka on",
    "Tagalog": "ang mga hindi ito kung siya nang saan paano bakit kanyang | sa na at si ng ay",
    "Swahili": "kwa katika cha kuwa lakini wapi gani sana watu | na la za ya wa ni hii pia",
}
_LANGUAGES = {name: tuple(frozenset(part.split()) for part in words.split("|")) for name, words in WORDS.items()}


def mostly_foreign(texts: Iterable[str]) -> bool:
    """Whether more than half of the letters lie beyond the Latin blocks."""
    letters = foreign = 0
    for text in texts:
        sample = text[:SAMPLE]
        if sample.isascii():
            letters += len(sample)
            continue
        for char in sample:
            if char.isalpha():
                letters += 1
                foreign += ord(char) > LAST_LATIN and not 0x1E00 <= ord(char) <= LAST_VIETNAMESE
    return foreign * 2 > letters


def other_language(query: str, texts: Sequence[str]) -> str | None:
    """The language in Latin letters that a query and texts are mostly in, None for English and where it is unclear."""
    rest = texts[MAX_TEXTS :: 1 + len(texts) // MAX_TEXTS]
    words: Counter[str] = Counter()
    for text in (query, *texts[:MAX_TEXTS], *rest):
        words.update(_WORD.findall(text[:SAMPLE].lower()))
    known = words.keys()
    english = sum(words[word] for word in ENGLISH & known)
    best = max(_LANGUAGES, key=lambda name: _hits(words, name)[0])
    hits, typical = _hits(words, best)
    accented = sum(number for word, number in words.items() if not word.isascii())  # half as telling: names have them
    clear = sum(words[word] for word in typical) >= MIN_WORDS and len(typical) >= MIN_DISTINCT
    clear = clear or (bool(typical) and hits > 1 and accented >= ACCENTED * words.total())
    if clear and hits > 2 * english and hits + accented / 2 >= MIN_SHARE * words.total():
        return best
    return None


def _hits(words: Counter[str], name: str) -> tuple[int, frozenset[str]]:
    """How many words are function words of a language, and which of them no English text has."""
    typical, common = (part & words.keys() for part in _LANGUAGES[name])
    return sum(words[word] for word in typical | common), frozenset(typical)
