"""The settings of a server: its address, its keys, its limits. Frozen; `cli.serve` builds them from options."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rerank_cli.options import SERVER, nested, option
from rerank_cli.settings import DAY, Limits

_server = partial(option, group=SERVER)


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """How a server behaves. Sizes in bytes or characters, times in seconds."""

    host: str = _server(
        "--host", "Address to listen on; 0.0.0.0 means all.", metavar="ADDRESS", default="127.0.0.1", in_short_help=True
    )
    port: int = _server(
        "--port",
        "Listen on this port; 0 takes a free one.",
        metavar="N",
        default=8080,
        minimum=0,
        maximum=65535,
        in_short_help=True,
    )
    keys_file: Path | None = _server(
        "--keys-file", "Keys that clients may send, one per line.", metavar="FILE", kind=Path, in_short_help=True
    )
    keys_env: str | None = _server("--keys-env", "Variable with such keys, separated by blanks.", metavar="NAME")
    keys: tuple[str, ...] = field(default=(), repr=False)  # of both; empty: everybody may ask
    strict: bool = _server("--strict", "Refuse unknown fields (422) and models (404) as Cohere does.", default=False)
    names: tuple[str, ...] = _server(
        "--served-name",
        "What clients may call the first model, or with NAME=MODEL another one; repeatable.",
        metavar="NAME",
        many=True,
        name="served_name",
    )
    max_body: int = _server("--max-body", "Largest request body (413).", metavar="BYTES", default=16 << 20, minimum=1)
    max_documents: int = _server(
        "--max-documents", "Most documents per request (400).", metavar="N", default=10_000, minimum=1
    )
    max_query: int = _server("--max-query", "Longest query (422).", metavar="CHARS", default=16_384, minimum=1)
    max_document: int = _server(
        "--max-document", "Longest document (422).", metavar="CHARS", default=2_000_000, minimum=1
    )
    max_tokens: int = _server(
        "--max-tokens",
        "Most tokens per document that requests may ask for with max_tokens_per_doc.",
        metavar="N",
        default=16_384,
        minimum=1,
    )
    # Requests being read, waiting or scored.
    max_queue: int = _server(
        "--max-queue", "Requests accepted at a time; more get 429.", metavar="N", default=256, minimum=1
    )
    # From the first byte to the response.
    timeout_s: float = _server(
        "--request-timeout",
        "Seconds until a request gets 504.",
        metavar="S",
        default=300.0,
        minimum=0.001,
        maximum=DAY,
        name="request_timeout",
    )
    max_connections: int = _server(
        "--max-connections",
        "Connections open at a time; a new one closes the oldest idle one.",
        metavar="N",
        default=1024,
        minimum=1,
    )
    allowed_hosts: tuple[str, ...] = _server(
        "--allowed-host",
        "Further host name under which browsers and proxies may call the server; repeatable.",
        metavar="NAME",
        many=True,
        name="allowed_host",
    )
    cors_origins: tuple[str, ...] = _server(
        "--cors-origin",
        "Web pages of this origin may use the server; repeatable. `*` is any origin and needs keys.",
        metavar="ORIGIN",
        many=True,
        name="cors_origin",
    )
    playground: bool = _server(
        "--playground/--no-playground",
        "A page to try rankings in a browser, at `/`; none with --no-playground.",
        default=True,
    )
    access_log: bool = _server(
        "--access-log/--no-access-log",
        "One line per request on stderr, without texts; none with --no-access-log.",
        default=True,
    )
    limits: Limits = nested(Limits)  # where a request says nothing


HEADER_S = 10.0  # a connection that does not send its headers within this time is closed
BODY_S = 30.0  # the same for a body
SEND_S = 30.0  # a client must read at least SEND_BYTES of the response per SEND_S
SEND_BYTES = 64 << 10
STOP_S = 2.0  # for a body that is still arriving when the server stops
FAILED_KEY_S = 1.0  # until a wrong key is refused, so that guessing is slow
FAILED_KEYS = 100  # such refusals that wait at a time
KEEP_ALIVE_S = 65  # longer than the idle time of usual client pools and proxies, so that they close first
BODIES = 8  # bodies of the largest size that may be in memory at once
MAX_FIELDS = 100  # rank_fields per request: each is looked up in every document
MAX_NOTES = 20  # warnings of ignored fields per response
CHARS_PER_TOKEN = 24  # characters of a document that are read for each token that may be scored
MAX_DEPTH = 64  # of JSON
