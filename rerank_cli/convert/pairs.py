"""Two hundred pairs on which a converted model must agree with its original: many lengths, scripts and oddities.

The texts consist of a few sentences; only their lengths and scripts matter.
"""

from __future__ import annotations

from rerank_cli.records import Pair

QUERIES = (
    "What is the capital of the United States?",
    "how to retry a failed request with backoff",
    "red planet",
    "Wie hoch ist der Mont Blanc?",
    "中国的首都是哪里",
    "which vitamin prevents scurvy, and who found out",
    "столица России",
    "error 429 too many requests",
    "best way to reheat pizza",
    "a",
)
SENTENCES = (
    "Washington, D.C. is the capital of the United States.",
    "Carson City is the capital city of the American state of Nevada.",
    "A client that gets status 429 should wait, and double the wait with each failure.",
    "Mars is called the Red Planet because iron oxide covers its surface.",
    "Der Mont Blanc ist mit 4.806 Metern der höchste Berg der Alpen.",
    "北京是中华人民共和国的首都，也是全国的政治和文化中心。",
    "Москва — столица России и крупнейший город страны.",
    "Vitamin C prevents scurvy; James Lind tried citrus fruits on sailors in 1747.",
    "Put the slice into a hot pan, add a drop of water and close the lid.",
    "The quick brown fox jumps over the lazy dog, again and again and again.",
    "def retry(times): return [sleep(2 ** i) for i in range(times)]",
    "!!! ??? --- *** 1234567890 3.14159 €100 @user #tag",
    "Ελλάδα, ประเทศไทย, भारत, 日本, 한국 and مصر are names of countries.",
    "It rained.",
    "yes",
)
SIZES = (1, 1, 1, 2, 2, 3, 5, 8, 13, 40)  # sentences per document; the last is longer than many models' window


def check_pairs() -> list[Pair]:
    """Two hundred pairs, always the same."""
    pairs = []
    for number in range(200):
        count = SIZES[number % len(SIZES)]
        start = number * 7
        text = " ".join(SENTENCES[(start + step) % len(SENTENCES)] for step in range(count))
        pairs.append(Pair(QUERIES[number // 20], text))
    return pairs
