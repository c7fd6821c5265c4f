"""One HTTP exchange over httpx2: bounded in time and size, with proxy and certificate authorities.

It sends bytes and returns status, headers and bytes, or raises an error. It knows no JSON.
This is the only module of the client side that imports httpx2.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from rerank_cli import lookup
from rerank_cli.errors import ConfigError, ProviderReply, RemoteError, UsageError
from rerank_cli.files import reason_of
from rerank_cli.net import find_proxy
from rerank_cli.scorers.remote.keys import Secret
from rerank_cli.scorers.remote.retries import Transient
from rerank_cli.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx2

    from rerank_cli.scorers.remote.target import Target
    from rerank_cli.settings import RemoteSettings

REPLY_BYTES = 8 * 2**20  # a reply of scores is small; servers that return all documents get a multiple of the request
REPLY_FACTOR = 8


class Reply(NamedTuple):
    """A whole reply; header names in lower case, the body decompressed."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """Connections to one endpoint, kept and reused; safe to share between threads."""

    def __init__(self, target: Target, remote: RemoteSettings, env: Mapping[str, str]) -> None:
        import httpx2

        self._target = target
        self._timeout_s = remote.timeout_s
        size = max(1, remote.concurrency)
        proxy = find_proxy(target.url, env)
        try:
            transport = httpx2.HTTPTransport(
                verify=tls_context(target.url, remote, env, proxied=bool(proxy)),
                proxy=proxy,
                trust_env=False,  # the environment is a parameter
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=size),  # workers are the bound
            )
        except (ImportError, ValueError, httpx2.InvalidURL) as error:
            hint = "pip install 'httpx2[socks]'" if isinstance(error, ImportError) else None
            raise UsageError("the proxy of the environment cannot be used", hint) from None
        self._proxy = urlsplit(proxy).netloc.rpartition("@")[2] if proxy else ""  # without name and password
        self._deadline = _install_deadline(transport)
        self._client = httpx2.Client(transport=transport, trust_env=False, follow_redirects=False)

    def post(self, body: bytes) -> Reply:
        """Post a JSON body and read the reply, all within the time-out.

        Raises Transient: the connection failed, was lost or timed out; RemoteError: a permanent failure:
        unknown host, bad certificate, a reply beyond all bounds.
        """
        import httpx2

        headers = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "gzip, deflate"}
        headers["User-Agent"] = f"rerank-cli/{__version__}"
        for name, value in self._target.headers:
            headers[name] = value.reveal() if isinstance(value, Secret) else value
        if self._target.signer:
            headers |= self._target.signer.sign(self._target.url, body, headers["Content-Type"])
        limit = REPLY_BYTES + REPLY_FACTOR * len(body)
        self._deadline.at = time.monotonic() + self._timeout_s
        try:
            with self._client.stream(
                "POST", self._target.url, content=body, headers=headers, timeout=self._timeout_s
            ) as response:
                received = {name.lower(): value for name, value in response.headers.items()}
                return Reply(response.status_code, received, self._read(response, limit))
        except httpx2.HTTPError as error:
            raise self._failure(error) from None  # its chain holds the request and so the key

    def _read(self, response: httpx2.Response, limit: int) -> bytes:
        """The body, decompressed piece by piece so that a decompression bomb cannot fill the memory."""
        pieces, size = [], 0
        for piece in response.iter_bytes():
            size += len(piece)
            if size > limit:
                message = f"the reply of {self._target.shown_url} exceeds {limit >> 20} MiB: not read any further"
                raise RemoteError(message, "check --endpoint: a reply to documents is far smaller")
            pieces.append(piece)
        return b"".join(pieces)

    def _failure(self, error: httpx2.HTTPError) -> Transient | RemoteError:
        import httpx2

        url = self._target.shown_url
        cause = _root(error)
        if isinstance(error, httpx2.TimeoutException):
            words = f"{url} did not answer within {self._timeout_s:g} s"
            hint = "a slow server needs a longer --timeout or a smaller --batch-docs"
            return Transient(RemoteError(words, hint, reply=ProviderReply(504)))
        if isinstance(cause, ssl.SSLCertVerificationError):
            hint = "a private authority is named by --ca-bundle FILE or SSL_CERT_FILE"
            return RemoteError(f"the certificate of {url} is not trusted: {cause.verify_message}", hint)
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return RemoteError(f"TLS handshake with {url} failed: {cause.reason or cause}", "is it http:// instead?")
        if isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN:
            return RemoteError(f"{url}: the host is unknown ({cause.strerror})", "check --endpoint and the network")
        if isinstance(error, httpx2.ProxyError):
            return RemoteError(f"the proxy refused to connect to {url}: {error}", "see HTTPS_PROXY and NO_PROXY")
        if isinstance(error, httpx2.DecodingError):
            return RemoteError(f"the reply of {url} is not compressed as its header says: {error}")
        if isinstance(error, httpx2.ConnectError) and self._proxy:
            words = f"cannot connect to the proxy {self._proxy} or through it to {url}: {reason_of(cause)}"
            return Transient(RemoteError(words, "see HTTPS_PROXY and NO_PROXY"))
        if isinstance(error, httpx2.ConnectError):
            return Transient(
                RemoteError(f"cannot connect to {url}: {reason_of(cause)}", "is the server running there?")
            )
        return Transient(RemoteError(f"the connection to {url} was lost: {reason_of(cause)}"))

    def close(self) -> None:
        """Close all connections."""
        self._client.close()


def _root(error: BaseException) -> BaseException:
    """The first cause of an error: the operating system's or TLS's own."""
    while (below := error.__cause__ or error.__context__) is not None:
        error = below
    return error


def _install_deadline(transport: httpx2.HTTPTransport) -> Any:
    """Make every connect, read and write of the pool obey one deadline for the whole exchange.

    httpx2 limits each read, so a server that sends a byte per second would hold a request forever. The pool offers its
    network backend only through the constructor, which httpx2's transport calls without it, hence the inner attribute.
    """
    from rerank_cli.scorers.remote.deadline import DeadlineBackend

    deadline = threading.local()
    pool = transport._pool  # noqa: SLF001
    pool._network_backend = DeadlineBackend(pool._network_backend, deadline)  # noqa: SLF001
    return deadline


def tls_context(url: str, remote: RemoteSettings, env: Mapping[str, str], *, proxied: bool) -> ssl.SSLContext:
    """The certificate authorities: --ca-bundle, else SSL_CERT_FILE and SSL_CERT_DIR, else the system's.

    Raises ConfigError: the bundle cannot be read.
    """
    if url.startswith("http://") and not proxied:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used; loading the authorities would cost 20 ms
    if remote.insecure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    where = str(remote.ca_bundle.expanduser()) if remote.ca_bundle else env.get("SSL_CERT_FILE")
    folder = None if where else env.get("SSL_CERT_DIR")
    if where or folder:
        return _context_of(where, folder)
    import httpx2

    return httpx2.create_ssl_context(trust_env=False)


def _context_of(file: str | None, folder: str | None) -> ssl.SSLContext:
    from pathlib import Path

    if file and lookup.is_folder(Path(file)):
        file, folder = None, file
    try:
        return ssl.create_default_context(cafile=file, capath=folder)
    except (OSError, ssl.SSLError) as error:
        reason = "no certificates in PEM form" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(
            f"cannot load the certificate authorities of `{file or folder}`: {reason}",
            "name a file or a folder of certificates in PEM form",
        ) from None
