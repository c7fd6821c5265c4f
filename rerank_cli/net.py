"""Hosts, proxies, and what looks like a key: shared by configuration, server and remote endpoints.

It opens no connection, reads no environment by itself, and knows neither providers nor requests.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

SENSITIVE = re.compile(r"(^|[-_])(authorization|cookie|api[-_]?key|key|token|secret|password)($|[-_])", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Keys of providers hold long runs of letters and digits; names of variables that long have underscores.
_PASTED = re.compile(r"(?=[A-Za-z]*\d)[A-Za-z0-9]{24,}")
_SCHEME = re.compile(r"\s*(bearer|basic|token)\s+\S", re.IGNORECASE)
_HARMLESS = frozenset({"idempotency-key"})


def is_variable(name: str) -> bool:
    """Whether this looks like the name of an environment variable, not like a pasted key."""
    return _VARIABLE.fullmatch(name) is not None and _PASTED.search(name) is None


def is_credential(name: str, value: str) -> bool:
    """Whether a header carries a secret, by its name or the beginning of its value."""
    return bool(SENSITIVE.search(name) and name.lower() not in _HARMLESS) or _SCHEME.match(value) is not None


def is_loopback(host: str) -> bool:
    """Whether a host name or address never leaves this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def find_proxy(url: str, env: Mapping[str, str]) -> str | None:
    """The proxy for a URL: https_proxy, http_proxy, all_proxy in either case, minus NO_PROXY.

    Loopback never goes through a proxy: keys may travel there over plain http, and must not travel on.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    if is_loopback(host) or _bypassed(host, parts.port, env.get("no_proxy") or env.get("NO_PROXY") or ""):
        return None
    names = (f"{parts.scheme}_proxy", f"{parts.scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
    proxy = next((env[name] for name in names if env.get(name)), None)
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


def _bypassed(host: str, port: int | None, no_proxy: str) -> bool:
    for entry in (part.strip().lower() for part in no_proxy.split(",")):
        if entry == "*":
            return True
        name = entry.removeprefix("*").removeprefix(".").removesuffix(f":{port}")
        if name and (host == name or host.endswith("." + name) or _in_network(host, name)):
            return True
    return False


def _in_network(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
