"""Mutates configuration files and checks them for every role and command: only ConfigError may be raised.

    python tests/fuzz/fuzz_config.py --count 1000000

The same seed gives the same inputs. A failing input is printed and kept in `tests/fuzz/failing/`. Also checked: an
error is one line that names the file, no message repeats a planted secret, and a project file never sets an endpoint, a
header, permission to run code or a path.
"""

from __future__ import annotations

import random
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))
sys.path.insert(0, str(HERE))

from readers import main, mutate  # noqa: E402

from rerank_cli.cli.app import root  # noqa: E402
from rerank_cli.cli.sources import Options  # noqa: E402
from rerank_cli.config import ConfigFile, Role, check_file  # noqa: E402
from rerank_cli.config.files import parse  # noqa: E402
from rerank_cli.errors import ConfigError  # noqa: E402

SECRET = "s3cr3tS3CR3Ts3cr3tS3CR3T42"
PIECES = [
    f'api_key = "{SECRET}"\n', f'header = ["Authorization: {SECRET}"]\n', f'endpoint = "https://u:{SECRET}@h/"\n',
    f'api_key_env = "{SECRET}"\n', f'extra = {{ token = "{SECRET}" }}\n', f'auth_header = "X: {SECRET}"\n',
    "[rank]\n", "[endpoints.x]\n", "[prices]\n", "trust_remote_code = true\n", 'model = "./x"\n', "top-n = 1\n", "true", "1e400",
    "-1", "[]", "{}", '""', "'", "inf", "1979-05-27", "[" * 60, '"\\u0000"', '"\\ud800"', "= = ", ".", "[[", "]]", "9" * 30,
]  # fmt: skip
NEVER = {
    "endpoint",
    "header",
    "trust_remote_code",
    "allow_pickle",
    "ca_bundle",
    "api_key_env",
    "api_key_file",
    "output",
}
PATH = Path("/nowhere/rerank.toml")


def attempt(raw: bytes, role: Role, command: str, options: Options) -> str:
    """Parse and check one file; the name of the outcome."""
    try:
        checked = check_file(ConfigFile(PATH, role, parse(raw, PATH)), command, options)
    except ConfigError as error:
        told = error.message + (error.hint or "")
        if "\n" in told or str(PATH) not in error.message:
            raise AssertionError("an error is one line that names the file") from error
        if SECRET in told:
            raise AssertionError("a message repeats a secret") from error
        return "refused"
    if not role.trusted and (checked.endpoints or checked.prices or NEVER & set(checked.values)):
        raise AssertionError("a project file said what it may not say")
    return "taken"


def fuzz(count: int, seed: int, seconds: float = float("inf")) -> tuple[Counter[str], list[str]]:
    """Outcomes of `count` inputs, or of those of some seconds, and the failures."""
    stop = time.monotonic() + seconds
    chance = random.Random(seed)
    corpus = [path.read_bytes() for path in sorted((HERE / "corpus_config").iterdir())]
    lines = [line for data in corpus for line in data.splitlines(keepends=True)]
    options, outcomes, failures = Options(root()), Counter[str](), []
    commands = list(options.commands())
    for number in range(count):
        if number % 1000 == 0 and time.monotonic() > stop:
            break
        data = b"".join(chance.sample(lines, chance.randint(1, 6))) if chance.random() < 0.8 else chance.choice(corpus)
        if chance.random() < 0.4:
            at = data.find(b"\n", chance.randint(0, len(data))) + 1
            data = data[:at] + chance.choice(PIECES).encode() + data[at:]
        if chance.random() < 0.7:
            data = mutate(data, chance.choice(corpus), chance)
        role, command = chance.choice(list(Role)), chance.choice(commands)
        try:
            outcomes[f"{role.value}: {attempt(data, role, command, options)}"] += 1
        except Exception:  # noqa: BLE001 whatever it is, it is a find
            outcomes["FAILED"] += 1
            (HERE / "failing").mkdir(exist_ok=True)
            (HERE / "failing" / f"config-{number}.toml").write_bytes(data)
            failures.append(f"{number}: {data!r}\n{role} {command}\n{traceback.format_exc()}")
    return outcomes, failures


if __name__ == "__main__":
    sys.exit(main(fuzz, __doc__))
