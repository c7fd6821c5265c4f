"""A rerank server on loopback with real sockets: answers and scores are chosen by the test, requests are kept."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import ssl
import struct
import subprocess
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Seen:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: Any
    number: int  # from 1
    raw: bytes = b""
    gone: threading.Event = field(default_factory=threading.Event)  # set when the server shuts down


# provider -> its documented request and response
DOCUMENTED = json.loads((Path(__file__).parent / "documented.json").read_text())
Answer = "tuple[int, dict[str, str], bytes] | Callable[[BaseHTTPRequestHandler], None]"


def pointwise(query: str, text: str) -> float:
    """A score of one pair alone: shared words first, a digest to tell the rest apart."""
    words = set(re.findall(r"\w+", query.lower()))
    shared = len(words & set(re.findall(r"\w+", text.lower()))) / (len(words) or 1)
    noise = int.from_bytes(hashlib.sha256(f"{query}\0{text}".encode()).digest()[:6], "big") / 2**48
    return round(0.9 * shared + 0.1 * noise, 12)


def as_json(payload: Any, status: int = 200, **headers: str) -> tuple[int, dict[str, str], bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, {"Content-Type": "application/json", **named}, json.dumps(payload).encode()


def cohere(seen: Seen) -> Any:
    """A Cohere-shaped reply, worst first, so that nobody trusts the order."""
    scores = [pointwise(seen.body["query"], text) for text in seen.body["documents"]]
    results = [{"index": i, "relevance_score": s} for i, s in sorted(enumerate(scores), key=lambda p: p[1])]
    units = -(-len(scores) // 100)
    return as_json({"id": "x", "results": results, "meta": {"billed_units": {"search_units": units}}})


def tei(seen: Seen, cap: int = 32) -> Any:
    """A TEI-shaped reply with TEI's batch limit."""
    texts = seen.body["texts"]
    if len(texts) > cap:
        words = f"batch size {len(texts)} > maximum allowed batch size {cap}"
        return as_json({"error": words, "error_type": "Validation"}, 422)
    scores = [{"index": i, "score": pointwise(seen.body["query"], text)} for i, text in enumerate(texts)]
    return as_json(sorted(scores, key=lambda r: -r["score"]), x_compute_tokens=str(10 * len(texts)))


def hang(handler: Any) -> None:
    """Never answer."""
    handler.server.gone.wait(30)


def reset(handler: Any) -> None:
    """Half a body, then a reset of the connection."""
    handler.wfile.write(
        b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"results": ['
    )
    handler.wfile.flush()
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def drip(where: str) -> Callable[[Any], None]:
    """A byte now and then, in the headers or in the body, so that no single read is slow."""
    start = b"HTTP/1.1 200 OK\r\n" + (b"Content-Length: 1000\r\n\r\n" if where == "body" else b"X-Slow: ")

    def answer(handler: Any) -> None:
        try:
            handler.wfile.write(start)
            for _ in range(300):
                handler.wfile.write(b" ")
                handler.wfile.flush()
                if handler.server.gone.wait(0.05):
                    return
        except OSError:
            return

    return answer


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave are part of the plan."""


class Loopback:
    """`with Loopback(answer) as server: server.url, server.seen`."""

    def __init__(self, answer: Callable[[Seen], Any] = cohere, latency_s: float = 0.0, tls: Path | None = None) -> None:
        self.seen: list[Seen] = []
        self.answer = answer
        self.latency_s = latency_s
        self.most_at_once = 0
        self.connections = 0
        self._at_once = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def setup(self) -> None:
                with outer._lock:
                    outer.connections += 1
                super().setup()

            def do_POST(self) -> None:
                outer.handle(self)

            def log_message(self, *args: Any) -> None:
                """Quiet."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.gone = threading.Event()
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.url = f"https://localhost:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        raw = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            headers = {name.lower(): value for name, value in handler.headers.items()}
            seen = Seen(handler.path, headers, json.loads(raw), len(self.seen) + 1, raw)
            self.seen.append(seen)
        try:
            time.sleep(self.latency_s)
            self.reply(handler, self.answer(seen))
        finally:
            with self._lock:
                self._at_once -= 1

    def reply(self, handler: BaseHTTPRequestHandler, answer: Any) -> None:
        if callable(answer):
            handler.close_connection = True
            answer(handler)
            return
        status, headers, body = answer
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.gone.set()
        self._server.shutdown()
        self._server.server_close()


def in_turn(*answers: Any) -> Callable[[Seen], Any]:
    """The answers one after another, then `cohere` for ever; a callable of one `Seen` is asked."""

    def answer(seen: Seen) -> Any:
        if seen.number > len(answers):
            return cohere(seen)
        now = answers[seen.number - 1]
        return now(seen) if now in (cohere, tei) else now

    return answer


class Tunnel:
    """A CONNECT proxy that leads every name to one local port; `asked` holds the names, `heads` the whole requests."""

    def __init__(self, port: int, status: bytes = b"200 OK") -> None:
        self.asked: list[str] = []
        self.heads: list[bytes] = []
        self._port, self._status = port, status
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            head = b""
            while b"\r\n\r\n" not in head:
                head += near.recv(4096)
            self.heads.append(head)
            self.asked.append(head.split()[1].decode())
            near.sendall(b"HTTP/1.1 " + self._status + b"\r\n\r\n")
            if not self._status.startswith(b"200"):
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._port))
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._relay, args=(one, other), daemon=True).start()

    @staticmethod
    def _relay(one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                other.sendall(data)
        except OSError:
            pass
        finally:
            one.close()
            other.close()

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()


def make_certificate(folder: Path, names: list[str]) -> tuple[Path, Path]:
    """A self-signed certificate for these host names: (file with its key, file without)."""
    key, public, both = folder / "key.pem", folder / "cert.pem", folder / "both.pem"
    listed = "subjectAltName=" + ",".join(f"DNS:{name}" for name in names)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=rerank test", "-addext", listed, "-keyout", key, "-out", public],
        check=True, capture_output=True,
    )  # fmt: skip
    both.write_bytes(key.read_bytes() + public.read_bytes())
    return both, public


def free_port() -> int:
    """A port where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
