"""The settings of a server: its address, its keys, its limits. Frozen; `cli.serve` builds them from options."""

from __future__ import annotations

from dataclasses import dataclass, field

from rerank_cli.settings import Limits


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """How a server behaves. Sizes in bytes or characters, times in seconds."""

    host: str = "127.0.0.1"
    port: int = 8080
    keys: tuple[str, ...] = field(default=(), repr=False)  # empty: no key is needed
    strict: bool = False
    names: tuple[str, ...] = ()  # further names of the model for clients; used with `strict`
    max_body: int = 16 << 20
    max_documents: int = 10_000
    max_query: int = 16_384
    max_document: int = 2_000_000
    max_queue: int = 256  # requests being read, waiting or scored
    timeout_s: float = 300.0  # from the first byte to the response
    access_log: bool = True
    limits: Limits = field(default_factory=Limits)  # for requests that set no limit


HEADER_S = 10.0  # a connection that does not send its headers within this time is closed
BODY_S = 30.0  # the same for a body
SEND_S = 30.0  # a client must read at least SEND_BYTES of the response per SEND_S
SEND_BYTES = 64 << 10
STOP_S = 2.0  # for a body that is still arriving when the server stops
KEEP_ALIVE_S = 65  # longer than the idle time of usual client pools and proxies, so that they close first
BODIES = 8  # bodies of the largest size that may be in memory at once
MAX_FIELDS = 100  # rank_fields per request: each is looked up in every document
MAX_NOTES = 20  # warnings of ignored fields per response
MAX_DEPTH = 64  # of JSON
