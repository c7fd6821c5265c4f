"""Mutates HTTP requests and bodies and sends them to a real `rerank serve`, for a given time.

    python tests/fuzz/serve.py --seconds 60

The same seed gives the same requests. Checked: the server goes on, no status 500 and no scorer that failed, every line
on stderr is one of the log's, every error has a JSON message on one line, and memory does not grow without bound. What
failed is printed and kept in `tests/fuzz/failing/`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(ROOT)]

from readers import mutate  # noqa: E402

LINE = re.compile(r"\d{4}-\d\d-\d\dT\S+ id=\S+ client=\S+ \S+ \S+ status=\d+ .*|rerank: .*|hint: .*")
METHODS = (*["POST"] * 20, "GET", "GET", "HEAD", "OPTIONS", "PUT", "x" * 3000)
PATHS = (
    "/v2/rerank", "/v1/rerank", "/rerank", "/x/reranking", "//v1//rerank/", "/docs", "/health", "/ready", "/metrics",
    "/openapi.json", "/v1/models", "/v1/models/x", "/info", "/meta", "/score", "/v1/ranking", "/voyage/v1/rerank",
    "/infinity/rerank", "/services/rerank/text-rerank/text-rerank", "/", "/%0aforged/rerank", "/%ff%fe", "*", "http://localhost/rerank", "/" + "a" * 9000,
)  # fmt: skip
HEADERS = (
    "Content-Type: application/json", "Content-Type: text/plain", "Content-Type: application/x+json; charset=x",
    "Content-Encoding: gzip", "Expect: 100-continue", "Connection: close", "Connection: upgrade", "Upgrade: websocket",
    "X-Request-Id: a b\x1b[31m", "X-Request-Id: fine-1", "Authorization: Bearer \xff", "Origin: null",
    "Sec-Fetch-Site: none", "Host: localhost", "Content-Length: 3", "Content-Length: -1", "Content-Length: 99999999999",
    "Transfer-Encoding: chunked", "Transfer-Encoding: gzip", "Accept: */*", "X: " + "y" * 70_000, ": no name", "a b: c",
)  # fmt: skip
LONG = ("a" * 600, "ab " * 200, "\U0001f600\u00e9" * 300, "\u5b57" * 300, "!?" * 100, " \n\t" * 300, "0" * 500)
TEXTS = (
    "reset the router", "", " ", "\0", "\u200b", "\ufffd", "\ud800", "[SEP] [CLS] [PAD]", "\u202e\u2028", "1e999", "near", "auto", "50%",
    "30d", "text", "title=t:2", *LONG,
)  # fmt: skip
MEMBERS = (
    "query", "documents", "texts", "model", "top_n", "rank_fields", "return_documents", "max_chunks_per_doc",
    "max_tokens_per_doc", "raw_scores", "truncate", "return_text", "priority", "input", "passages", "text_1", "x\ny",
    "text_2", "top_k", "truncation", "property", "parameters", "recency", "half_life", "boost", "boost_field", "weight",
    "dedupe", "cutoff", "group_by", "group_size", "diversity", "highlight", "max_context_tokens", "context",
    "return_best_chunk", "use_activation",
)  # fmt: skip
MOST_MB = 2500  # resident memory of the server


def value(chance: random.Random, depth: int = 0) -> Any:
    """Any JSON value."""
    choice = chance.randrange(9 if depth < 4 else 6)
    if choice < 3:
        return chance.choice(TEXTS)
    if choice == 3:
        return chance.choice((0, 1, -1, 2**70, 0.5, 1e300, 3))
    if choice < 6:
        return chance.choice((None, True, False, "true"))
    if choice == 6:
        return {
            chance.choice((*MEMBERS, "text", "title")): value(chance, depth + 1) for _ in range(chance.randrange(4))
        }
    return [value(chance, depth + 1) for _ in range(chance.randrange(5))]


def body(chance: random.Random) -> bytes:
    """A request that is right, or nearly so; its bytes may be mutated too."""
    texts = chance.choices(TEXTS, k=chance.choice((1, 1, 2, 5, 12)))
    documents: list[Any] = [{"text": text, "title": "t"} if chance.random() < 0.3 else text for text in texts]
    members: dict[str, Any] = {
        "query": TEXTS[0] if chance.random() < 0.7 else chance.choice(TEXTS),
        chance.choice(("documents", "documents", "texts")): documents,
    }
    while chance.random() < 0.4:
        members[chance.choice(MEMBERS)] = value(chance)
    data = json.dumps(members, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
    if chance.random() < 0.3:
        data = mutate(data, b'{"documents": [{}, [[]], "\\ud83d", 1e999, nan, 12345678901234567890]}', chance)
    if chance.random() < 0.01:
        data = b'{"query": "q", "documents": [' + chance.choice((b"{}", b"[]", b'""', b"1")) * 300_000 + b"]}"
    return data


def request(chance: random.Random) -> tuple[bytes, bool]:
    """The bytes of a request, and whether the server will answer it without further bytes."""
    data = body(chance)
    method, path = chance.choice(METHODS), chance.choice(PATHS[:4] if chance.random() < 0.7 else PATHS)
    headers = ["Host: 127.0.0.1", "Content-Type: application/json"] if chance.random() < 0.95 else []
    headers.append("Connection: close")
    whole = True
    if chance.random() < 0.2:
        whole = False
        headers += chance.sample(HEADERS, chance.randrange(4))
    if chance.random() < 0.1:  # in chunks
        cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(50)))
        parts = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if b > a]
        headers.append("Transfer-Encoding: chunked")
        data = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    else:
        wrong = chance.choice((-1, 1)) if chance.random() < 0.02 else 0
        whole = whole and not wrong
        headers.append(f"Content-Length: {len(data) + wrong}")
    head = (
        f"{method} {path} HTTP/1.{chance.choice('1111110')}\r\n" + "".join(f"{each}\r\n" for each in headers) + "\r\n"
    )
    raw = head.encode("latin-1") + data
    if chance.random() < 0.05:
        raw, whole = mutate(raw, b"GET / HTTP/1.1\r\n\r\n", chance), False
    if chance.random() < 0.05:
        raw, whole = raw[: chance.randrange(len(raw) + 1)], False
    return raw, whole


class Server:
    """`rerank serve` as a process; its lines on stderr are kept."""

    def __init__(self) -> None:
        argv = [sys.executable, "-m", "rerank_cli", "serve", "--port", "0", "--no-config"]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=environment, errors="replace")
        self.lines: list[str] = []
        self.port = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        end = time.monotonic() + 60
        while not self.port and time.monotonic() < end and self.process.poll() is None:
            time.sleep(0.05)

    def _read(self) -> None:
        for line in self.process.stderr or ():
            found = re.search(r" on http://\S+:(\d+) ", line)
            self.port = self.port or (int(found[1]) if found else 0)
            self.lines.append(line.removesuffix("\n"))

    def memory(self) -> float:
        """Resident megabytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def send(self, raw: bytes, *, whole: bool) -> bytes:
        """The first response to a request, or nothing."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            try:
                connection.sendall(raw)
                if not whole:
                    connection.shutdown(socket.SHUT_WR)
                parts = []
                while part := connection.recv(1 << 20):
                    parts.append(part)
                return b"".join(parts)
            except OSError:  # the server has closed the connection
                return b""


def problem(reply: bytes, lines: list[str]) -> str | None:
    """What is wrong with a response and with what was logged meanwhile."""
    for line in lines:
        if not LINE.fullmatch(line):
            return f"a line that is not ours: {line!r}"
        if "internal error" in line or "scorer failed" in line or "Traceback" in line:
            return line
    head, _, content = reply.partition(b"\r\n\r\n")
    if not reply:
        return None
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", head)
    if not found:
        return f"not HTTP: {head[:80]!r}"
    status = int(found[1])
    if status == 500:
        return "status 500"
    if status >= 400 and b"application/json" in head and b"HTTP/1.1" not in content:
        error = json.loads(content) if content else {"message": "HEAD"}
        message = error.get("message") or error.get("detail") or error.get("error")
        message = message.get("message") if isinstance(message, dict) else message  # OpenAI's form
        if not message or not message.isprintable():
            return f"message {message!r}"
    return None


def fuzz(seconds: float, seed: int) -> tuple[Counter[str], list[str]]:
    """Outcomes of as many requests as the time allows, and the failures."""
    chance, server = random.Random(seed), Server()
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end and len(failures) < 20:
        before = len(server.lines)
        raw, whole = request(chance)
        try:
            reply = server.send(raw, whole=whole)
            wrong = problem(reply, server.lines[before:])
        except (OSError, ValueError) as error:
            reply, wrong = b"", repr(error)
        if server.process.poll() is not None:
            wrong = f"the server ended with {server.process.returncode}"
        outcomes[reply[9:12].decode("latin-1") or "closed"] += 1
        if wrong:
            kept = HERE / "failing" / f"serve-{seed}-{sum(outcomes.values())}"
            kept.parent.mkdir(exist_ok=True)
            kept.write_bytes(raw)
            failures.append(f"{kept}: {wrong}\n{raw[:300]!r}")
        if server.process.poll() is not None:
            server = Server()
    if (memory := server.memory()) > MOST_MB:
        failures.append(f"the server takes {memory:.0f} MB")
    outcomes["MB"] = round(memory)
    server.process.terminate()
    server.process.wait(60)
    return outcomes, failures


def main() -> int:
    """Run and report; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    outcomes, failures = fuzz(options.seconds, options.seed)
    for failure in failures[:5]:
        print(failure)
    memory = outcomes.pop("MB")
    total = sum(outcomes.values())
    print(
        f"{total:,} requests, seed {options.seed}, {options.seconds:.0f} s, {memory} MB: {dict(outcomes.most_common())}"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
