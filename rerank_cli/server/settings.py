"""What a server is told: where it listens, who may ask, how much. Frozen; made from options by `cli.serve`."""

from __future__ import annotations

from dataclasses import dataclass, field

from rerank_cli.settings import Limits


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """How a server behaves. Sizes in bytes or characters, times in seconds."""

    host: str = "127.0.0.1"
    port: int = 8080
    keys: tuple[str, ...] = field(default=(), repr=False)  # empty: everybody may ask
    strict: bool = False
    names: tuple[str, ...] = ()  # what clients may call the model, beside its own name; counts with `strict`
    max_body: int = 16 << 20
    max_documents: int = 10_000
    max_query: int = 16_384
    max_document: int = 2_000_000
    max_queue: int = 256  # requests being read, waiting or scored
    timeout_s: float = 300.0  # from the first byte to the answer
    access_log: bool = True
    limits: Limits = field(default_factory=Limits)  # where a request says nothing


HEADER_S = 10.0  # a connection that sends no whole header within this is closed
BODY_S = 30.0  # likewise a body
SEND_S = 30.0  # and one that does not read at least
SEND_BYTES = 64 << 10  # of its answer in that time
STOP_S = 2.0  # what a body that is arriving when the server stops has left
KEEP_ALIVE_S = 65  # longer than the idle time of usual client pools and proxies, so that they close first
BODIES = 8  # bodies of the largest size that may be in memory at once
MOST_FIELDS = 100  # rank_fields of a request: each is looked up in every document
MOST_NOTES = 20  # a reply is no place for a thousand of them
MOST_DEPTH = 64  # of JSON
