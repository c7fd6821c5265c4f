"""A text that is not English is recognised by its function words; code, names and short lines never are."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from rerank_cli.language import WORDS, other_language

ROOT = Path(__file__).resolve().parent.parent

# (query, documents): short ones, as in a shop, a help desk or an encyclopaedia.
FOREIGN = {
    "German": ("Wie hoch ist der Eiffelturm?", ["Der Eiffelturm ist 330 Meter hoch.", "Bananen sind reich an Kalium."]),
    "French": ("Quelle est la capitale de la France ?", ["Paris est la capitale de la France.", "Les chats dorment dans le jardin avec nous."]),
    "Polish": ("Jaka jest stolica Polski?", ["Warszawa jest stolicą Polski.", "Koty śpią, bo nie mają nic do roboty.", "Wisła to rzeka, która płynie przez Kraków."]),
    "Spanish": ("¿Cuál es la capital de España?", ["Madrid es la capital y la ciudad más poblada de España.", "Los gatos duermen porque están cansados."]),
    "Portuguese": ("Qual é a capital do Brasil?", ["Brasília é a capital do Brasil.", "Os gatos não dormem muito, mas são felizes."]),
    "Italian": ("Qual è la capitale d'Italia?", ["Roma è la capitale d'Italia, che è anche la città più grande.", "I gatti dormono nella casa della nonna."]),
    "Dutch": ("Wat is de hoofdstad van Nederland?", ["Amsterdam is de hoofdstad van Nederland, maar niet de regeringszetel.", "Het weer wordt morgen beter."]),
    "Swedish": ("Vad är Sveriges huvudstad?", ["Stockholm är Sveriges huvudstad och största stad.", "Katter sover inte på natten."]),
    "Czech": ("Jaké je hlavní město Česka?", ["Praha je hlavní město, které leží na Vltavě.", "Kočky spí, když není co jíst.", "Jsou také líné."]),
    "Hungarian": ("Mi Magyarország fővárosa?", ["Budapest Magyarország fővárosa és egy nagy város.", "A macskák nem alszanak, mert éhesek."]),
    "Turkish": ("Türkiye'nin başkenti neresi?", ["Ankara, Türkiye'nin başkenti ve çok büyük bir şehir.", "Kediler için daha iyi bir yer yok."]),
    "Finnish": ("Mikä on Suomen pääkaupunki?", ["Helsinki on Suomen pääkaupunki ja suurin kaupunki.", "Kissat nukkuvat, mutta koirat ei.", "Se oli siellä kun tulin."]),
    "Indonesian": ("Apa ibu kota Indonesia?", ["Jakarta adalah kota yang besar.", "Kucing tidak tidur dengan tenang."]),
    "Vietnamese": ("Thủ đô của Việt Nam là gì?", ["Hà Nội là thủ đô của Việt Nam.", "Những con mèo không ngủ."]),
    "Romanian": ("Care este capitala României?", ["București este capitala și cel mai mare oraș din România.", "Pisicile nu dorm."]),
}  # fmt: skip

FINE = {
    "names": ["Leonardo da Vinci", "Vincent van Gogh", "Charles de Gaulle", "Simone de Beauvoir", "Otto von Bismarck", "Miguel de Cervantes"],
    "accented names": ["José Ñúñez", "Łukasz Żółć", "Müller GmbH & Co. KG", "François Hollande", "Søren Kierkegaard", "Dvořák"],
    "places": ["Los Angeles", "Las Vegas", "El Paso", "La Paz", "Rio de Janeiro", "Des Moines", "San Juan del Sur", "Den Haag"],
    "films": ["La Vie en rose", "Das Boot", "Der Untergang", "Les Misérables", "La Dolce Vita", "Y tu mamá también", "El Mariachi", "Die Hard"],
    "products": ["Nike Air Max 90 - Schwarz/Weiß", "L'Oréal Paris Elvive 400 ml", "Le Creuset Cocotte 24cm", 'Samsung QE55Q60 55" 4K', "De'Longhi ECAM 22.110"],
    "perl": ["open(my $fh, '<', $f) or die \"cannot open: $!\";", "die unless defined $x;", "sub des { return shift->{des} }", "for my $i (0..9) { print $i }"],
    "python": Path(__file__).read_text().splitlines()[:9] + (ROOT / "rerank_cli" / "pipeline.py").read_text().splitlines(),
    "javascript": ["import os from 'os';", "const es = require('es-module');", "for (const a of en) { do { a.un() } while (se) }", "export default { com, por, que: 1 }"],
    "sql": ["SELECT a.id, o.name FROM a JOIN o ON a.id = o.id", "INSERT INTO u (id, die, das) VALUES (1, 2, 3)", "SELECT * FROM se WHERE en IN ('de', 'fr')"],
    "logs": ["2024-01-05T10:00:01Z ERROR [main] com.example.Foo - Timeout", "Jan  5 10:00:01 host sshd[123]: Failed password for root", 'level=info msg="done" dur=1ms'],
    "paths": ["src/de/der/die.py", "locales/fr/que/pas/est.po", "https://es.example.com/que-es-un/para/todos", "/var/lib/und/mit"],
    "language codes": ["de", "en", "fr", "es", "it", "nl", "se", "da", "no", "es_ES", "de-DE"],
    "short": ["ja", "nein", "oui", "si", "no", "ok"],
    "english": ["Paris is the capital of France.", "Cats sleep.", 'The word "und" is German for and; "ist nicht" means is not.'],
    "english without function words": ["wireless mouse ergonomic black", "usb cable 2m", "gaming keyboard rgb mechanical"],
    "mixed, mostly English": ["The contract was signed in Bonn.", "Das ist nicht gut und nicht schön.", "How do I reset my password?", "It is in the menu that you can see at the top.", "We have been there and they were happy with it."],
    "menus": ["Crème brûlée", "Spaghetti alla puttanesca", "Penne all'arrabbiata", "Coq au vin", "Huevos rancheros con arroz"],
    "latin names": ["Homo sapiens", "Canis lupus familiaris", "Lorem ipsum dolor sit amet, consectetur adipiscing elit"],
    "base64": ["aGVsbG8gd29ybGQgdGhpcyBpcyBh", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
    "shell": ["ls -la /home/der | grep -v und", "find . -name '*.de' -print0 | xargs -0 du -sh", "sudo do-release-upgrade -d", "git log --format='%an %s'"],
    "commits": ["Fix crash when the config file is empty", "Bump es-abstract from 1.2 to 1.3", "Add de and fr translations", 'Revert "Add el locale"'],
    "english words of other languages": ["MacBook Pro", "pale ale", "Open Sans", "see log on server", "MIT license", "bet on it", "no nav bar", "ng build"],
    "empty": [], "blank": ["", " "],
}  # fmt: skip


@pytest.mark.parametrize("language", FOREIGN)
def test_other_languages_are_recognised(language: str) -> None:
    query, documents = FOREIGN[language]
    assert other_language(query, documents), language
    assert other_language(query, documents * 100), language


@pytest.mark.parametrize("name", FINE)
@pytest.mark.parametrize("query", ["", "reset password", "how do I reset my password?"])
def test_no_false_alarm(name: str, query: str) -> None:
    assert other_language(query, FINE[name]) is None


def test_the_language_is_named_and_a_model_with_it(run) -> None:
    query, documents = FOREIGN["German"]
    result = run("-q", query, stdin="\n".join(documents))
    assert result.code == 0
    assert "the text is mostly German, and the built-in model knows English only" in result.err
    assert "-m BAAI/bge-reranker-v2-m3" in result.err


def test_a_batch_says_it_once(run) -> None:
    rows = [{"query": query, "documents": documents} for query, documents in [FOREIGN["French"]] * 3]
    result = run("batch", stdin="".join(json.dumps(row) + "\n" for row in rows))
    assert result.err.count("mostly French") == 1


def test_it_costs_little() -> None:
    texts = ["the quick brown fox jumps over the lazy dog and " * 40] * 1000
    start = time.perf_counter()
    for _ in range(20):
        other_language("query", texts)
    assert (time.perf_counter() - start) / 20 < 0.02


def test_every_language_has_words_of_both_sorts() -> None:
    for name, words in WORDS.items():
        typical, common = words.split("|")
        assert len(typical.split()) > 6, name
        assert common.split(), name
