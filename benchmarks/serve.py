"""A server under load: CPU a pair against the offline scorer, overhead of one request, overload, memory.

Run: python benchmarks/serve.py [--seconds 60] [--concurrency 32] [--tokens 40]. The server runs in a process of
its own; figures come from its /metrics. Nothing is asserted; errors are counted. On a busy machine only the CPU
figures mean much.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]
SIZES = (1, 3, 5, 10, 10, 10, 20, 40, 100)  # documents of a request, drawn evenly
TEXT = """the router of this office holds a recessed pin that you press for ten seconds until all lights go out and come
back again before it opens at nine and forwards packets between networks of other cities"""
WORDS = TEXT.split()
QUERY = "how do I reset the router?"


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


def post(connection: http.client.HTTPConnection, body: bytes) -> int:
    """One request on a kept connection; the status."""
    connection.request("POST", "/v2/rerank", body, {"content-type": "application/json"})
    reply = connection.getresponse()
    reply.read()
    return reply.status


def overhead(server: Server, documents: list[str], rounds: int) -> tuple[float, float]:
    """Medians in ms of one 10-document request on an idle server: whole, and less the seconds in the scorer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    whole, over = [], []
    for number in range(rounds):
        body = json.dumps({"query": QUERY, "documents": documents[number * 10 : number * 10 + 10]}).encode()
        before = server.figures()["rerank_scoring_seconds_total"]
        start = time.perf_counter()
        post(connection, body)
        spent = time.perf_counter() - start
        whole.append(spent * 1e3)
        over.append((spent - server.figures()["rerank_scoring_seconds_total"] + before) * 1e3)
    connection.close()
    return statistics.median(whole), statistics.median(over)


def load(server: Server, documents: list[str], seconds: float, clients: int) -> dict[str, Any]:
    """Closed-loop clients for some seconds: statuses, pairs, server CPU, memory at a quarter and at the end."""
    statuses: Counter[str] = Counter()
    stop = time.monotonic() + seconds
    before, start = server.figures(), time.monotonic()

    def client(seed: int) -> None:
        draw = random.Random(seed)  # noqa: S311
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
        while time.monotonic() < stop:
            body = json.dumps({"query": QUERY, "documents": draw.sample(documents, draw.choice(SIZES))}).encode()
            try:
                status = str(post(connection, body))
            except OSError as error:
                status = type(error).__name__
                connection.close()
            statuses[status] += 1
            if status != "200":
                time.sleep(0.05)
        connection.close()

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(clients)]
    for thread in threads:
        thread.start()
    time.sleep(seconds / 4)
    early = server.figures()["process_resident_memory_bytes"]
    for thread in threads:
        thread.join()
    after = server.figures()
    pairs = after["rerank_batch_pairs_sum"] - before["rerank_batch_pairs_sum"]
    cpu = after["process_cpu_seconds_total"] - before["process_cpu_seconds_total"]
    return {
        "statuses": dict(statuses),
        "pairs": int(pairs),
        "pairs_per_s": pairs / (time.monotonic() - start),
        "cpu_ms_per_pair": cpu / max(pairs, 1) * 1e3,
        "pairs_per_call": pairs / max(after["rerank_batch_pairs_count"] - before["rerank_batch_pairs_count"], 1),
        "rss_mb_quarter": early / 1e6,
        "rss_mb_end": after["process_resident_memory_bytes"] / 1e6,
    }


def offline(documents: list[str], seconds: float) -> float:
    """CPU ms a pair of the scorer alone on the same texts, threads not spinning, as the server has it."""
    from rerank_cli.records import Pair
    from rerank_cli.report import Report
    from rerank_cli.scorers.base import Limits
    from rerank_cli.scorers.registry import open_scorer
    from rerank_cli.settings import ModelSettings

    scorer = open_scorer(ModelSettings(spinning=False), {}, Report())
    pairs = [Pair(QUERY, text) for text in documents]
    scorer.score(pairs[:20], Limits())
    done, start, cpu = 0, time.monotonic(), time.process_time()
    while time.monotonic() - start < seconds:
        done += len(scorer.score(pairs, Limits()))
    return (time.process_time() - cpu) / done * 1e3


def main() -> None:
    """Print each figure as it is known."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=40, help="mean length of documents")
    parser.add_argument("--rounds", type=int, default=30, help="requests of the overhead figure")
    options = parser.parse_args()
    documents = texts(2000, options.tokens, 1)
    alone = offline(documents[:256], options.seconds / 4)
    print(f"offline scorer: {alone:.2f} CPU ms a pair")
    server = Server()
    try:
        whole, over = overhead(server, documents, options.rounds)
        print(f"idle, 10 documents: p50 {whole:.1f} ms, of which {over:.2f} ms are not scoring")
        under = load(server, documents, options.seconds, options.concurrency)
        print(f"load, {options.concurrency} clients: {json.dumps(under)}")
        print(f"CPU a pair: {under['cpu_ms_per_pair'] / alone:.3f} x the offline scorer")
    finally:
        server.stop()
    server = Server("--max-queue", str(options.concurrency))
    try:
        clients = 4 * options.concurrency
        print(f"overload, {clients} clients: {json.dumps(load(server, documents, options.seconds / 2, clients))}")
        after = load(server, documents, options.seconds / 2, options.concurrency)
        print(f"afterwards, {options.concurrency} clients: {json.dumps(after)}")
    finally:
        server.stop()


if __name__ == "__main__":
    main()
