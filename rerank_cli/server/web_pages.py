"""Which web pages may use the server: its own and those of allowed origins (`--cors-origin`), and no others.

A browser sends requests of any page to any address that it can reach, those of this machine included. It says where
they come from (`Origin`, `Sec-Fetch-Site`), and under which name it found the server (`Host`). The name matters because
a page can point its own name at 127.0.0.1 once it has been loaded (DNS rebinding); it then counts as the server's own.
A server with keys needs none of this: a page does not know them. Other programs send none of these headers but `Host`.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from rerank_cli.errors import UsageError
from rerank_cli.net import is_loopback
from rerank_cli.server.http_errors import HttpError
from rerank_cli.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.datastructures import Headers
    from starlette.types import ASGIApp

    from rerank_cli.server.settings import ServeSettings

OWN_SITES = frozenset({"same-origin", "none"})  # none: typed into the address bar
# Sent with every response, so that another page cannot embed it either.
RESPONSE_HEADERS = {"cross-origin-resource-policy": "same-origin", "x-content-type-options": "nosniff"}
PAGE = "a web page of another origin may not use this server: start it with --cors-origin ORIGIN"
ANY = "*"
# As browsers send it: no path, no user. Extensions and desktop applications have schemes of their own.
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:[0-9]{1,5})?", re.ASCII)
DEFAULT_PORT = re.compile(r"(?<=^http:)(//.+):80$|(?<=^https:)(//.+):443$")


def check_origins(origins: Iterable[str], *, with_keys: bool) -> tuple[str, ...]:
    """The values of `--cors-origin` as browsers send them. Raises UsageError."""
    checked = []
    for origin in origins:
        text = DEFAULT_PORT.sub(r"\1\2", origin.strip().lower().removesuffix("/"))
        if text == ANY and not with_keys:
            hint = "name the origins, or give --keys-file or --keys-env"
            raise UsageError("--cors-origin `*` lets every web page use a server that has no keys", hint)
        if text != ANY and not ORIGIN.fullmatch(text):
            hint = "write scheme, host and port as the browser does, as in http://localhost:3000"
            raise UsageError(f"--cors-origin: `{shown(origin)}` is not an origin", hint)
        checked.append(text)
    return tuple(dict.fromkeys(checked))


def allow_origins(app: ASGIApp, origins: tuple[str, ...]) -> ASGIApp:
    """The application, with the headers for pages of these origins; it answers their preflight requests.

    The server has no cookies, so a page sends what it knows: any header is allowed, and it may read any of a response.
    """
    if not origins:
        return app
    from starlette.middleware.cors import CORSMiddleware

    methods = ("GET", "HEAD", "POST")
    return CORSMiddleware(app, origins, methods, ("*",), expose_headers=("*",), allow_private_network=True)


def refuse_foreign_page(headers: Headers, settings: ServeSettings) -> None:
    """Raise HttpError 403 for the request of a web page that is not the server's own; keys make it unnecessary."""
    if settings.keys:
        return
    host = headers.get("host", "")
    if (settings.allowed_hosts or is_loopback(settings.host)) and not names_server(host, settings.allowed_hosts):
        raise HttpError(403, f"the server is not known as `{shown(host)}`: start it with --allowed-host NAME")
    origins = [origin.strip().lower() for origin in headers.getlist("origin")]
    if origins and set(origins) <= set(settings.cors_origins):
        return
    if any(not is_own_origin(origin, host) for origin in origins):
        raise HttpError(403, PAGE)
    sites = {site.strip().lower() for site in headers.getlist("sec-fetch-site")}
    if not sites <= OWN_SITES and not is_link(headers):
        raise HttpError(403, PAGE)


def names_server(host: str, allowed: tuple[str, ...]) -> bool:
    """Whether a Host header names this machine: an address, localhost or an allowed name.

    A page cannot be at an address without being the server's own. Without a Host header it was no browser.
    """
    name = name_of(host)
    if not host or name in {name_of(each) for each in allowed}:
        return True
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def name_of(host: str) -> str:
    """The name in a Host header, without its port."""
    name = host.strip().lower()
    name = name.partition("]")[0] + "]" if name.startswith("[") else name.partition(":")[0]
    return name.removesuffix(".")


def is_own_origin(origin: str, host: str) -> bool:
    """Whether an origin, in lower case, is that of a page of this server; `null`, as of a file or a sandbox, is not."""
    own = host.strip().lower()
    return own != "" and origin in {f"http://{own}", f"https://{own}"}


def is_link(headers: Headers) -> bool:
    """Whether somebody followed a link to the server: a new page, which the old one cannot read."""
    return (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == ("navigate", "document")
