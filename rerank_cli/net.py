"""Hosts, proxies, and what looks like a key: shared by configuration, server and remote endpoints.

It opens no connection (it may look up localhost) and reads no environment by itself. It knows neither providers nor
requests.
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
    """Whether a host is a loopback address, or by its name should be one; see `stays_on_machine`."""
    return is_localhost(host) or _is_loopback_address(host)


def is_localhost(host: str) -> bool:
    """Whether a host name is reserved for this machine. What it resolves to is up to the system's configuration."""
    return host == "localhost" or host.endswith(".localhost")


def stays_on_machine(host: str) -> bool:
    """Whether nothing sent to a host leaves this machine, as far as names resolve now; connections check it again."""
    if not is_localhost(host):
        return _is_loopback_address(host)
    try:
        return all(_is_loopback_address(address) for address in _addresses(host))
    except OSError:  # unknown, so that there will be no connection either
        return True


def loopback_addresses(host: str) -> list[str]:
    """The addresses of a localhost name. Raises OSError if it is unknown or one of them is not on this machine."""
    addresses = _addresses(host)
    if not all(map(_is_loopback_address, addresses)):
        raise OSError(f"{host} resolves to another machine")
    return addresses


def _addresses(host: str) -> list[str]:
    import socket

    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]).partition("%")[0] for *_, address in found))


def _is_loopback_address(host: str) -> bool:
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
