"""What hostile clients cost `rerank serve`: idle connections, refused bodies, expensive documents. Nothing is asserted.

python benchmarks/serve_bounds.py idle       # /health beside 2,000 idle connections, lines in the log
python benchmarks/serve_bounds.py memory     # peak memory of refused bodies of 16 MB, per byte
python benchmarks/serve_bounds.py wait       # a five-character request beside expensive legal ones
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import random
import re
import resource
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from serve import JSON, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIZE = 16 << 20
LONG = 2_000_000  # characters of the longest legal document


@contextmanager
def server() -> Iterator[Server]:
    """A server whose lines on stderr are counted."""
    found = Server()
    found.lines = 0

    def count() -> None:
        for _ in found.process.stderr:
            found.lines += 1

    threading.Thread(target=count, daemon=True).start()
    try:
        yield found
    finally:
        found.stop()


def ask(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, float]:
    """Status and seconds."""
    start = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request(method, path, body, JSON)
    reply = connection.getresponse()
    reply.read()
    connection.close()
    return reply.status, time.perf_counter() - start


def idle() -> None:
    """How long /health takes beside idle connections."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with server() as found:
        start = time.perf_counter()
        opened = [socket.create_connection(("127.0.0.1", found.port)) for _ in range(2000)]
        spent = time.perf_counter() - start
        times = [ask(found.port, "GET", "/health")[1] for _ in range(50)]
        lines = found.lines
        for each in opened:
            each.close()
    worst = max(times) * 1e3
    print(f"2,000 idle connections in {spent:.1f} s: /health at most {worst:.1f} ms (target 100), {lines} lines")


def repeated(what: str, between: str = ",", around: str = '{"query": "q", "documents": [%s]}') -> bytes:
    return (around % between.join([what] * ((SIZE - 200) // len(what + between)))).encode()


def peak(process: int) -> float:
    """Megabytes, the most so far."""
    return int(re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{process}/status").read_text())[0]) / 1024


def memory() -> None:
    """Peak memory of a server that refuses one body."""
    bodies = {
        "{}": repeated("{}"), "[]": repeated("[]"), '""': repeated('""'), "1.5": repeated("1.5"),
        '{"a":1}': repeated('{"a":1}'),
        "one document of {}": repeated("{}", around='{"query": "q", "documents": [{"x": [%s]}]}'),
        "no query": b'{"documents": ["%s"]}' % (b"a" * (SIZE - 100)),
        "one long text": b'{"query": "q", "documents": ["%s"]}' % (b"a" * (SIZE - 100)),
        "one long text, UCS-4": b'{"query": "q", "documents": ["%s\xf0\x9f\x98\x80"]}' % (b"a" * (SIZE - 100)),
        "not JSON": b'{"query": "q", "documents": ["%s' % (b"a" * (SIZE - 100)),
    }  # fmt: skip
    for name, body in bodies.items():
        with server() as found:
            ask(found.port, "POST", "/v1/rerank", b'{"query": "q", "documents": ["%s"]}' % (b"a " * 200_000))
            Path(f"/proc/{found.process.pid}/clear_refs").write_text("5")  # the peak starts again
            before = peak(found.process.pid)
            status, seconds = ask(found.port, "POST", "/v1/rerank", body)
            more = peak(found.process.pid) - before
        print(
            f"{name}: {status} in {seconds:.2f} s, {more:.0f} MB, {more * 2**20 / len(body):.1f} x its bytes (target 4)"
        )


def wait() -> None:
    """The longest time of a short request while expensive ones are scored."""
    draw = random.Random(1)  # noqa: S311
    texts: dict[str, Callable[[], str]] = {
        "words": lambda: "the quick brown fox jumps over lazy dogs " * (LONG // 41),
        "base64": lambda: base64.b64encode(draw.randbytes(LONG * 3 // 4)).decode()[:LONG],
        "one letter": lambda: "a" * LONG,
        "emoji": lambda: "😀é" * (LONG // 2),
        "punctuation": lambda: "!?" * (LONG // 2),
        "ideographs": lambda: "漢字" * (LONG // 2),
    }
    short = b'{"query": "a", "documents": ["b c d"]}'
    for name, make in texts.items():
        for tokens in (None, 10**9):
            count = max(1, min(7, (15 << 20) // len(make().encode())))
            members = {"query": "q", "documents": [make() for _ in range(count)], "max_tokens_per_doc": tokens}
            with server() as found:
                ask(found.port, "POST", "/v2/rerank", short)
                body = json.dumps(members, ensure_ascii=False).encode()
                port = found.port
                threads = [threading.Thread(target=ask, args=(port, "POST", "/v2/rerank", body)) for _ in range(3)]
                for thread in threads:
                    thread.start()
                times = []
                start = time.monotonic()
                while any(thread.is_alive() for thread in threads) and time.monotonic() - start < 6:
                    times.append(ask(port, "POST", "/v2/rerank", short)[1])
                    time.sleep(0.02)
                if any(thread.is_alive() for thread in threads):
                    found.process.kill()
            print(
                f"3 x {count} documents of {name}, max_tokens_per_doc {tokens}: at most {max(times):.2f} s (target 2)",
                flush=True,
            )


def main() -> None:
    """One figure a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = {"idle": idle, "memory": memory, "wait": wait}
    parser.add_argument("figure", choices=commands)
    print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    commands[parser.parse_args().figure]()


if __name__ == "__main__":
    main()
