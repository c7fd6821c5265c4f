"""A server under load: CPU a pair against the offline scorer, overhead of one request, overload, memory.

Run, on a machine that does nothing else (each prints its figures beside its target; nothing is asserted):

    python benchmarks/serve.py load       # 32 clients, mixed sizes, 60 s: errors, CPU a pair, memory
    python benchmarks/serve.py overhead   # one request of 10 documents on an idle server, less its scoring
    python benchmarks/serve.py overload   # 4 x the clients that the server accepts: 429s, memory, speed afterwards
    python benchmarks/serve.py mixed      # every API, objects, wrong requests and ten reloads: memory is flat

The server is a process of its own on 127.0.0.1; its CPU, memory and scoring time are those of its /metrics.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]
SIZES = (1, 3, 5, 10, 10, 10, 20, 40, 100)  # documents of a request, drawn evenly
TEXT = """the router of this office holds a recessed pin that you press for ten seconds until all lights go out and come
back again before it opens at nine and forwards packets between networks of other cities"""
WORDS = TEXT.split()
QUERY = "how do I reset the router?"
WARM_S = 5.0  # load before anything is measured: the engine's memory grows until it has seen the largest batches
JSON = {"content-type": "application/json"}


def texts(count: int, tokens: int, seed: int) -> list[str]:
    """Distinct documents of about `tokens` tokens, half to one and a half times as long."""
    draw = random.Random(seed)  # noqa: S311 no secret
    return [f"{n} " + " ".join(draw.choices(WORDS, k=draw.randint(tokens // 2, tokens * 3 // 2))) for n in range(count)]


class Server:
    """`rerank serve` as a process, and what it tells of itself."""

    def __init__(self, *argv: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rerank_cli", "serve", "--port", "0", "--no-access-log", *argv],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        line = ""
        while "serving" not in line:
            line = self.process.stderr.readline() if self.process.stderr else ""
        self.port = int(re.findall(r":(\d+) ", line)[0])

    def figures(self) -> dict[str, float]:
        """The unlabelled values of /metrics."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return {name: float(value) for name, value in re.findall(r"^(\w+) (\S+)$", text, re.MULTILINE)}

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


@dataclass
class Load:
    """What closed-loop clients saw and what the server spent on it."""

    statuses: Counter[str]
    seconds: float
    pairs: float
    calls: float
    cpu: float  # seconds of the server
    memory: list[float]  # MB, once a second

    @property
    def speed(self) -> float:
        return self.pairs / self.seconds

    @property
    def cpu_ms(self) -> float:
        return self.cpu / max(self.pairs, 1) * 1e3

    def told(self) -> str:
        middle = self.memory[len(self.memory) // 2]
        memory = f"RSS start {self.memory[0]:.1f}, middle {middle:.1f}, end {self.memory[-1]:.1f} MB"
        speed = f"{self.pairs:.0f} pairs in {self.seconds:.0f} s, {self.speed:.0f} a second"
        return f"{dict(self.statuses)}; {speed}, {self.pairs / max(self.calls, 1):.0f} a call; {memory}"


def post(connection: http.client.HTTPConnection, body: bytes, count: int, path: str = "/v2/rerank") -> str:
    """One request on a kept connection; the status, or what was wrong with the reply."""
    try:
        connection.request("POST", path, body, JSON)
        reply = connection.getresponse()
        found = json.loads(reply.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        connection.close()
        return type(error).__name__
    if reply.status == 429 and int(reply.getheader("retry-after") or 0) < 1:
        return "429 without Retry-After"
    if reply.status == 200 and len(found if isinstance(found, list) else found["results"]) != count:
        return "200 with lost documents"
    return str(reply.status)


def run_clients(server: Server, documents: list[str], seconds: float, clients: int) -> Load:
    """Clients that ask again as soon as they are answered, or 50 ms after a refusal."""
    statuses: Counter[str] = Counter()
    stop = time.monotonic() + seconds

    def client(seed: int) -> None:
        draw = random.Random(seed)  # noqa: S311
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
        while time.monotonic() < stop:
            count = draw.choice(SIZES)
            body = json.dumps({"query": QUERY, "documents": draw.sample(documents, count)}).encode()
            status = post(connection, body, count)
            statuses[status] += 1
            if status != "200":
                time.sleep(0.05)
        connection.close()

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(clients)]
    before, start = server.figures(), time.monotonic()
    for thread in threads:
        thread.start()
    memory = [before["process_resident_memory_bytes"] / 1e6]
    while time.monotonic() < stop:
        time.sleep(1)
        memory.append(server.figures()["process_resident_memory_bytes"] / 1e6)
    for thread in threads:
        thread.join()
    after = server.figures()
    memory.append(after["process_resident_memory_bytes"] / 1e6)
    spent = {name: after[name] - before[name] for name in after if name in before}
    cpu = spent["process_cpu_seconds_total"]
    pairs, calls = spent["rerank_batch_pairs_sum"], spent["rerank_batch_pairs_count"]
    return Load(statuses, time.monotonic() - start, pairs, calls, cpu, memory)


def open_offline() -> Any:
    """The same model in this process."""
    from rerank_cli.report import Report
    from rerank_cli.scorers.open_local import open_local
    from rerank_cli.settings import ModelSettings

    return open_local(ModelSettings(), Report())


def offline(scorer: Any, documents: list[str], seconds: float) -> float:
    """CPU ms a pair of the scorer alone."""
    from rerank_cli.records import Pair
    from rerank_cli.settings import Limits

    pairs = [Pair(QUERY, text) for text in documents]
    scorer.score(pairs[:20], Limits())
    done, start, cpu = 0, time.monotonic(), time.process_time()
    while time.monotonic() - start < seconds:
        done += len(scorer.score(pairs, Limits()))
    return (time.process_time() - cpu) / done * 1e3


def load(options: argparse.Namespace) -> None:
    """CPU a pair, errors and memory. The offline scorer is measured before and after, as machines change speed."""
    documents = texts(2000, options.tokens, 1)
    scorer = open_offline()
    alone = [offline(scorer, documents[:256], options.seconds / 6)]
    server = Server()
    try:
        run_clients(server, documents, WARM_S, options.clients)
        found = run_clients(server, documents, options.seconds, options.clients)
    finally:
        server.stop()
    alone.append(offline(scorer, documents[:256], options.seconds / 6))
    mean = statistics.mean(alone)
    errors = sum(found.statuses.values()) - found.statuses["200"]
    print(f"{options.clients} clients: {found.told()}")
    print(f"errors: {errors} (target 0)")
    print(f"CPU a pair: server {found.cpu_ms:.3f} ms, offline {mean:.3f} ms ({alone[0]:.3f}, {alone[1]:.3f})")
    print(f"CPU a pair: {found.cpu_ms / mean:.3f} x the offline scorer (target 1.15)")


def scored(server: Server, pairs: float) -> tuple[float, float]:
    """Pairs and seconds in the scorer so far, once there are so many pairs: a call is counted after it was answered."""
    while (found := server.figures())["rerank_batch_pairs_sum"] < pairs:
        time.sleep(0.001)
    return found["rerank_batch_pairs_sum"], found["rerank_scoring_seconds_total"]


def overhead(options: argparse.Namespace) -> None:
    """The median of a request's time less its own scoring, and the scorer alone on the same documents."""
    from rerank_cli.records import Pair
    from rerank_cli.settings import Limits

    documents = texts(10 * options.rounds, options.tokens, 1)
    scorer, server = open_offline(), Server()
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    whole, over, alone = [], [], []
    try:
        for number in range(-5, options.rounds):  # five to warm up
            chosen = documents[number * 10 : number * 10 + 10] if number >= 0 else documents[:10]
            body = json.dumps({"query": QUERY, "documents": chosen}).encode()
            before = scored(server, 0)
            start = time.perf_counter()
            post(connection, body, 10)
            spent = time.perf_counter() - start
            after = scored(server, before[0] + 10)
            start = time.perf_counter()
            scorer.score([Pair(QUERY, text) for text in chosen], Limits())
            if number >= 0:
                alone.append((time.perf_counter() - start) * 1e3)
                whole.append(spent * 1e3)
                over.append((spent - after[1] + before[1]) * 1e3)
    finally:
        connection.close()
        server.stop()
    p50, own = statistics.median(whole), statistics.median(alone)
    print(f"one request of 10 documents, {options.rounds} rounds: p50 {p50:.2f} ms; scorer alone p50 {own:.2f} ms")
    tail = statistics.quantiles(over, n=20)[-1]
    print(f"request less its own scoring: p50 {statistics.median(over):.2f} ms, p95 {tail:.2f} ms (target 4)")
    print(f"p50 of requests less p50 of the scorer alone: {p50 - own:.2f} ms (target 4)")


def overload(options: argparse.Namespace) -> None:
    """As many clients as are accepted, then four times as many, then as before."""
    documents = texts(2000, options.tokens, 1)
    server = Server("--max-queue", str(options.clients))
    try:
        run_clients(server, documents, WARM_S, options.clients)
        part = options.seconds / 3
        before = run_clients(server, documents, part, options.clients)
        print(f"before, {options.clients} clients: {before.told()}", flush=True)
        heavy = run_clients(server, documents, part, 4 * options.clients)
        print(f"overload, {4 * options.clients} clients: {heavy.told()}", flush=True)
        after = run_clients(server, documents, part, options.clients)
        print(f"after, {options.clients} clients: {after.told()}")
    finally:
        server.stop()
    print(f"429s: {heavy.statuses['429']}; other refusals or errors: {set(heavy.statuses) - {'200', '429'} or 'none'}")
    print(
        f"most memory: {max(heavy.memory):.1f} MB in overload, {max(before.memory):.1f} MB before (target: no growth)"
    )
    print(f"speed afterwards: {after.speed / before.speed:.3f} x before (target 1)")


def shapes(chosen: list[str]) -> list[tuple[str, dict[str, Any]]]:
    """Requests of every API for some documents, right and wrong ones."""
    objects = [{"title": text[:20], "body": {"text": text}, "n": n} for n, text in enumerate(chosen)]
    return [
        ("/v2/rerank", {"query": QUERY, "documents": chosen}),
        ("/v1/rerank", {"query": QUERY, "documents": objects, "rank_fields": ["title", "body.text"]}),
        ("/rerank", {"query": QUERY, "texts": chosen, "return_text": True}),
        ("/v1/rerank", {"query": QUERY, "documents": chosen, "return_documents": True, "model": "other"}),
        ("/rerank", {"query": QUERY, "documents": ["long " * 3000 + text for text in chosen[:1]]}),
        ("/v2/rerank", {"query": "", "documents": chosen}),
        ("/v2/rerank", {"query": QUERY, "documents": [[text] for text in chosen]}),
    ]


def mixed(options: argparse.Namespace) -> None:
    """The memory of a server with two models, at tenths of the time, under requests of every shape and reloads."""
    documents = texts(2000, options.tokens, 1)
    server = Server("-m", "builtin", "-m", "tei:", "--no-cache")
    stop = time.monotonic() + options.seconds
    statuses: Counter[str] = Counter()

    def client(seed: int) -> None:
        draw = random.Random(seed)  # noqa: S311
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
        while time.monotonic() < stop:
            chosen = draw.sample(documents, draw.choice(SIZES))
            path, body = draw.choice(shapes(chosen))
            count = len(body.get("documents", body.get("texts")))
            statuses[post(connection, json.dumps(body).encode(), count, path)] += 1
        connection.close()

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(options.clients)]
    for thread in threads:
        thread.start()
    memory = []
    try:
        for tenth in range(10):
            time.sleep(max(0.0, stop - options.seconds * (9 - tenth) / 10 - time.monotonic()))
            memory.append(server.figures()["process_resident_memory_bytes"] / 1e6)
            server.process.send_signal(signal.SIGHUP)
        for thread in threads:
            thread.join()
    finally:
        server.stop()
    print(f"{options.clients} clients: {dict(statuses)}")
    print("RSS in MB: " + ", ".join(f"{size:.1f}" for size in memory) + " (target: flat)")


def main() -> None:
    """One figure a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = {"load": load, "overhead": overhead, "overload": overload, "mixed": mixed}
    parser.add_argument("figure", choices=commands)
    parser.add_argument("--seconds", type=float, default=60, help="of load, in all")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=40, help="mean length of documents")
    parser.add_argument("--rounds", type=int, default=100, help="requests of the overhead figure")
    options = parser.parse_args()
    commands[options.figure](options)


if __name__ == "__main__":
    main()
