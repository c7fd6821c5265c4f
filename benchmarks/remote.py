"""Remote scoring on loopback: throughput by concurrency, client CPU a document, one request against a stock app.

    python benchmarks/remote.py [concurrency|cpu|start|memory]

Servers run in a process of their own, so the CPU figures are the client's alone. Needs the dev extra, no network.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

STOCK = """
import httpx2
import typer

app = typer.Typer()

@app.command()
def main(url: str) -> None:
    documents = ["reset the router", "the cat"]
    body = {"model": "m", "query": "router", "documents": documents, "top_n": 2}
    reply = httpx2.post(url, json=body, headers={"Authorization": "Bearer k"})
    for result in reply.json()["results"]:
        print(result["index"], result["relevance_score"])

app()
"""


def serve(pipe: Any, latency_s: float) -> None:
    """A Cohere-shaped server of threads that answers without parsing the documents: the count is the body's top_n."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    pipe.send(listener.getsockname()[1])
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=answer, args=(connection, latency_s), daemon=True).start()


def answer(connection: socket.socket, latency_s: float) -> None:
    stream = connection.makefile("rb")
    while stream.readline():
        length = 0
        while (line := stream.readline()) not in (b"\r\n", b""):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        body = stream.read(length)
        n = int(body.rpartition(b'"top_n":')[2].strip(b" }"))
        results = ",".join(f'{{"index":{i},"relevance_score":{(i * 7919 % 1000) / 1000}}}' for i in range(n))
        payload = f'{{"results":[{results}]}}'.encode()
        time.sleep(latency_s)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(payload)
        connection.sendall(head + payload)


class Server:
    def __init__(self, latency_s: float = 0.0) -> None:
        near, far = multiprocessing.Pipe()
        self._process = multiprocessing.Process(target=serve, args=(far, latency_s), daemon=True)
        self._process.start()
        self.url = f"http://127.0.0.1:{near.recv()}"

    def __enter__(self) -> Server:  # noqa: PYI034
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()


def scorer(url: str, **remote: Any) -> Any:
    from rerank_cli.report import Report
    from rerank_cli.scorers.remote import open_remote
    from rerank_cli.settings import ModelSettings, RemoteSettings

    remote = {"requests_per_minute": 10**9, **remote}
    return open_remote(
        "cohere:m", ModelSettings(remote=RemoteSettings(endpoint=url, **remote)), {"CO_API_KEY": "k"}, Report()
    )


def pairs(n: int, words: int = 60) -> list[Any]:
    from rerank_cli.records import Pair

    return [Pair("how do I reset the router", f"{i} " + "document " * words) for i in range(n)]


def timed(url: str, many: list[Any], **remote: Any) -> tuple[float, float]:
    """(wall, CPU) seconds of one score call over warm connections."""
    from rerank_cli.settings import Limits

    one = scorer(url, **remote)
    one.score(many[:10], Limits())
    wall, cpu = time.perf_counter(), time.process_time()
    one.score(many, Limits())
    used = time.perf_counter() - wall, time.process_time() - cpu
    one.close()
    return used


def concurrency() -> dict[str, float]:
    """Throughput of concurrency 8 over concurrency 1 at 50 ms latency, requests of 10 documents."""
    many = pairs(1600)
    with Server(0.05) as server:
        slow, _ = timed(server.url, many, concurrency=1, batch_docs=10)
        fast, _ = timed(server.url, many, concurrency=8, batch_docs=10)
    return {
        "concurrency 1, documents/s": 1600 / slow,
        "concurrency 8, documents/s": 1600 / fast,
        "ratio (>= 6)": slow / fast,
    }


def cpu() -> dict[str, float]:
    """Client CPU in ms a document: requests of 1,000 and of 32 documents, one and eight workers."""
    many = pairs(20_000)
    found = {}
    with Server() as server:
        for batch, workers in ((1000, 1), (1000, 8), (32, 1), (32, 8)):
            _, used = timed(server.url, many, concurrency=workers, batch_docs=batch)
            found[f"ms CPU a document, {batch} a request, concurrency {workers} (<= 0.1)"] = 1000 * used / len(many)
    return found


def start() -> dict[str, float]:
    """Whole processes: `rerank` with one request to a 0 ms server over a stock Typer app that posts once."""
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        stock, documents = Path(folder, "stock.py"), Path(folder, "docs.txt")
        stock.write_text(STOCK)
        documents.write_text("reset the router\nthe cat\n")
        base = [sys.executable, str(stock), server.url + "/v2/rerank"]
        ours = [
            sys.executable,
            "-m",
            "rerank_cli",
            "-q",
            "router",
            "-m",
            "cohere:m",
            "--endpoint",
            server.url,
            str(documents),
        ]
        env = {"PATH": "/usr/bin:/bin", "HOME": folder, "CO_API_KEY": "k", "PYTHONPATH": str(ROOT)}
        times: dict[str, list[float]] = {"stock": [], "rerank": []}
        for _ in range(15):  # in turns, so that noise hits both
            for name, argv in (("stock", base), ("rerank", ours)):
                begun = time.perf_counter()
                subprocess.run(argv, env=env, check=True, capture_output=True)
                times[name].append(time.perf_counter() - begun)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "stock app, ms": 1000 * medians["stock"],
        "rerank, ms": 1000 * medians["rerank"],
        "ratio (<= 2.5)": medians["rerank"] / medians["stock"],
    }


def memory() -> dict[str, float]:
    """Growth of the resident set over ten rounds of 20,000 documents, in MB: the first round is the warm-up."""
    from rerank_cli.settings import Limits

    many = pairs(20_000)
    with Server() as server:
        one = scorer(server.url, concurrency=8)
        peaks = []
        for _ in range(10):
            one.score(many, Limits())
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        one.close()
    return {
        "peak after round 1, MB": peaks[0],
        "peak after round 10, MB": peaks[-1],
        "growth, MB": peaks[-1] - peaks[0],
    }


def main() -> None:
    parts = {"concurrency": concurrency, "cpu": cpu, "start": start, "memory": memory}
    sys.path.insert(0, str(ROOT))
    for name in sys.argv[1:] or parts:
        print(name, json.dumps({key: round(value, 4) for key, value in parts[name]().items()}, indent=2))


if __name__ == "__main__":
    main()
