"""Servers for tests (in this process on a real socket, or the real program) and clients that send raw HTTP."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from free_scorer import FreeScorer

from rerank_cli.report import Report
from rerank_cli.scorers.open_local import open_local
from rerank_cli.server import admission, run
from rerank_cli.server.app import App
from rerank_cli.server.log import Log
from rerank_cli.server.metrics import Metrics
from rerank_cli.server.models import ModelPlan, Models, ServedModel
from rerank_cli.server.settings import ServeSettings
from rerank_cli.server.worker import Worker
from rerank_cli.settings import ModelSettings
from rerank_cli.terminal import Terminal

admission.FAILED_KEY_S = 0.0  # wrong keys are refused at once in the servers of this process
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def scores(self) -> dict[int, float]:
        """index -> score, whichever API."""
        rows = self.json if isinstance(self.json, list) else self.json["results"]
        return {row["index"]: row.get("relevance_score", row.get("score")) for row in rows}


class Client:
    """Requests to one server; each in a connection of its own."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def send(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=100)
        try:
            connection.request(method, path, body, headers or {})
            reply = connection.getresponse()
            return Answer(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.send("GET", path, None, headers)

    def post(self, path: str, value: Any = None, headers: dict[str, str] | None = None, **fields: Any) -> Answer:
        body = value if isinstance(value, bytes) else json.dumps(fields if value is None else value).encode()
        return self.send("POST", path, body, {"content-type": "application/json"} | (headers or {}))

    def raw(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)


class HeldScorer(FreeScorer):
    """Scores like FreeScorer, but only when let: `release(n)` allows n calls; each call's texts are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []
        self.allowed = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)

    def release(self, calls: int = 1000) -> None:
        self.allowed.release(calls)

    def score(self, pairs, limits, advance=None):
        self.batches.append([text for _, text, _ in pairs])
        self.entered.release()
        assert self.allowed.acquire(timeout=60)
        return super().score(pairs, limits, advance)


class Serving(Client):
    """A server of this process; `app`, `worker` and `log` are its parts."""

    def __init__(self, settings: ServeSettings, scorer: Any) -> None:
        bound = run.listen("127.0.0.1", 0)
        super().__init__(bound.getsockname()[1])
        self.stderr = io.StringIO()
        terminal = Terminal(io.BytesIO(), io.BytesIO(), self.stderr)
        metrics = Metrics()
        self.worker = Worker(scorer, metrics.batch)
        info = self.worker.start()
        models = Models([(ModelPlan((info.model, *settings.names)), ServedModel(info, self.worker))])
        log = Log(terminal, access=settings.access_log, tracebacks=True)
        self.app = App(settings, models, metrics, log)
        listening = threading.Event()
        self.server = run.make_server(self.app, settings, listening.set)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [bound]}, daemon=True)
        self.thread.start()
        assert listening.wait(30)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(30)
        assert not self.thread.is_alive()
        self.worker.stop()


def builtin() -> Any:
    return open_local(ModelSettings(), Report())


@contextmanager
def serving(scorer: Any = FreeScorer, **settings: Any):
    """A server in this process with a scorer that costs nothing, unless another is given."""
    server = Serving(ServeSettings(**settings), scorer)
    try:
        yield server
    finally:
        if isinstance(getattr(server.worker, "_scorer", None), HeldScorer):
            server.worker._scorer.release()
        server.stop()
    assert "Traceback" not in server.stderr.getvalue(), server.stderr.getvalue()


def wait_for(condition: Callable[[], bool]) -> None:
    """Return when the condition holds; fail after 30 seconds."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


class Program(Client):
    """`rerank serve` as a process."""

    def __init__(self, home: Path, *argv: str, env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rerank_cli", "serve", "--port", "0", *argv],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"HOME": str(home), "LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
            | (env or {}),
        )
        self.lines: list[str] = []
        port = None
        while port is None:
            line = self.process.stderr.readline().decode()
            self.lines.append(line)
            assert line, "".join(self.lines)
            if found := re.search(r"serving \S+ on http://\S+:(\d+) ", line):
                port = int(found[1])
        super().__init__(port)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stderr:
            self.lines.append(line.decode())

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(60)
        self._reader.join(10)
        self.process.stderr.close()
        self.process.stdout.close()
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.wait()
