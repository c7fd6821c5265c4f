"""Values for the placeholders of log line templates, and the word lists and templates of loglines.txt.

It knows nothing of records, queries or which line is relevant.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

DATA = Path(__file__).with_name("loglines.txt")
PLACEHOLDER = re.compile(r'\{(?:([a-zA-Z_]+)(\d?)|([^{}"]*\|[^{}"]*))\}')


@dataclass(frozen=True)
class Template:
    """One event of a program: its message, level, logger and description ('' when none)."""

    program: str
    family: str
    frame: str
    level: str
    text: str
    description: str
    logger: str


def hex_digits(rng: random.Random, length: int) -> str:
    """Digits of a hash or an address."""
    return "".join(rng.choices("0123456789abcdef", k=length))


def address(rng: random.Random) -> str:
    """An IPv4 address, private in half of the cases."""
    start = rng.choice([f"10.{rng.randrange(256)}", "192.168", "172.17"])
    if rng.random() < 0.5:
        start = f"{rng.randint(11, 223)}.{rng.randrange(256)}"
    return f"{start}.{rng.randrange(256)}.{rng.randint(1, 254)}"


def url_path(rng: random.Random) -> str:
    """A path of one to three parts, perhaps with a number."""
    number = [str(rng.randint(1, 99999))] if rng.random() < 0.4 else []
    return "/" + "/".join(rng.sample(pools()["pathword"], rng.randint(1, 3)) + number)


def host_name(rng: random.Random) -> str:
    """A word with a number."""
    word, number = rng.choice(pools()["hostword"]), rng.randint(1, 40)
    return f"{word}-{number:02d}" if rng.random() < 0.6 else f"{word}{number}"


def uuid_text(rng: random.Random) -> str:
    """The text of a UUID."""
    return "-".join(hex_digits(rng, size) for size in (8, 4, 4, 4, 12))


def letters(rng: random.Random, length: int, alphabet: str) -> str:
    """A word of random letters."""
    return "".join(rng.choices(alphabet, k=length))


def bgl_node(rng: random.Random) -> str:
    """A node name as Blue Gene machines write it."""
    return (
        f"R{rng.randrange(64):02d}-M{rng.randrange(2)}-N{rng.choice('0123456789ABCDEF')}"
        f"-C:J{rng.randrange(2, 18):02d}-U{rng.choice(['01', '11'])}"
    )


FILLERS = {
    "ip": address,
    "path": url_path,
    "host": host_name,
    "uuid": uuid_text,
    "bglnode": bgl_node,
    "port": lambda r: str(
        r.choice(
            [
                80,
                443,
                3000,
                5432,
                6379,
                8080,
                9092,
                r.randint(1024, 65535),
                r.randint(32768, 61000),
                r.randint(32768, 61000),
            ]
        )
    ),
    "pid": lambda r: str(r.randint(200, 65000)),
    "tid": lambda r: str(r.randint(1000, 99999)),
    "n": lambda r: str(int(10 ** r.uniform(2, 6))),
    "small": lambda r: str(r.randint(1, 64)),
    "ms": lambda r: str(int(10 ** r.uniform(0.5, 4.5))),
    "pct": lambda r: str(r.randint(1, 99)),
    "sec": lambda r: f"{10 ** r.uniform(-1, 2.3):.{r.randint(2, 3)}f}",
    "bytes": lambda r: str(int(10 ** r.uniform(2, 9))),
    "hex": lambda r: "0x" + hex_digits(r, 8),
    "short": lambda r: hex_digits(r, 10),
    "hexbyte": lambda r: hex_digits(r, 2),
    "shortid": lambda r: hex_digits(r, 12),
    "md": lambda r: hex_digits(r, 32),
    "sha": lambda r: hex_digits(r, 40),
    "longid": lambda r: hex_digits(r, 64),
    "hexword": lambda r: hex_digits(r, 8),
    "digest": lambda r: letters(r, 43, string.ascii_letters + string.digits + "+/"),
    "nonce": lambda r: letters(r, 14, string.ascii_letters + string.digits),
    "mailid": lambda r: letters(r, 10, "0123456789ABCDEF"),
    "mac": lambda r: ":".join(hex_digits(r, 2) for _ in range(6)),
    "file": lambda r: f"{r.choice(pools()['folder'])}/{r.choice(pools()['filename'])}",
    "uptime": lambda r: f"{10 ** r.uniform(1, 6):.6f}",
    "email": lambda r: f"{r.choice(pools()['user'])}@{r.choice(pools()['domain'])}",
    "pod": lambda r: f"{r.choice(pools()['svc'])}-{hex_digits(r, 9)}-{letters(r, 5, 'bcdfghjklmnpqrstvwxz2456789')}",
}


class Values:
    """The values of one line: each placeholder is drawn once, then kept."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.known: dict[str, str] = {}
        self.moment = datetime(2019, 1, 1, tzinfo=UTC) + timedelta(
            seconds=rng.randrange(200_000_000), microseconds=rng.randrange(1_000_000)
        )

    def near(self, keep: float) -> Values:
        """Values of a line soon before or after this one, with a share of its values kept."""
        other = Values(self.rng)
        other.moment = self.moment + timedelta(seconds=self.rng.uniform(-90, 90))
        other.known = {k: v for k, v in self.known.items() if self.rng.random() < keep}
        return other

    def moment_text(self, name: str) -> str:
        """The moment in a format of the data file, where ~ stands for milliseconds."""
        if name == "epoch":
            return str(int((self.moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()))
        text = self.moment.strftime(pools()[name][0])
        return text.replace("~", f"{self.moment.microsecond // 1000:03d}")

    def draw(self, name: str, digit: str) -> str:
        """The value of a placeholder, the same each time."""
        if name.startswith("ts_") or name == "epoch":
            return self.moment_text(name)
        key = name + digit
        if key not in self.known:
            filler = FILLERS.get(name)
            self.known[key] = filler(self.rng) if filler else self.rng.choice(pools()[name])
        return self.known[key]

    def fill(self, match: re.Match[str]) -> str:
        """What stands for a placeholder, or one of its alternatives."""
        name, digit, choices = match.groups()
        if not choices:
            return self.draw(name, digit)
        if choices not in self.known:
            self.known[choices] = self.rng.choice(choices.split("|"))
        return self.known[choices]


@cache
def load() -> tuple[dict, dict]:
    """Read the data file: pools of words, and programs by half ('train', 'heldout')."""
    words: dict[str, list[str]] = {}
    halves: dict[str, dict[str, list[Template]]] = {"train": {}, "heldout": {}}
    for line in DATA.read_text().splitlines():
        if line.startswith("= "):
            name, values = line[2:].split(": ", 1)
            words[name] = values.split()
        elif line.startswith("+ "):
            name, value = line[2:].split(": ", 1)
            words.setdefault(name, []).append(value)
        elif line.startswith("# "):
            head, frame = line[2:].split(" | ", 1)
            half, full_name = head.split()
            family, program = full_name.split("/")[0], full_name.split("/")[-1]
            templates = halves[half].setdefault(program, [])
        elif line and not line.startswith("%"):
            parts = [part.strip() for part in line[2:].split(";;")] + ["", ""]
            templates.append(Template(program, family, frame, line[0], parts[0], parts[1], parts[2] or program))
    return words, halves


def pools() -> dict[str, list[str]]:
    """The words of the data file by name."""
    return load()[0]
