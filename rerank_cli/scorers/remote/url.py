"""The URL of a provider: its own base, or --endpoint completed by the provider's rule. No keys, no network."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, urlsplit

from rerank_cli.errors import ConfigError, UsageError
from rerank_cli.scorers.remote.providers import Provider, ProviderModel, load_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rerank_cli.scorers.remote.keys import Secret

CHAT_ROUTE = "/chat/completions"
VERSION = re.compile(r"v\d+\w*")  # a part of a path
RERANK_ENDINGS = ("/rerank", "/reranking", "/reranks", "/rerankings", "/ranking", "/text-rerank", ":rank")


def values_of(provider: Provider, env: Mapping[str, str]) -> dict[str, str]:
    """Placeholder -> value, for those of the provider's variables that are set."""
    found = ((name, next((env[v] for v in names if env.get(v)), "")) for name, names in provider.variables.items())
    return {f"{{{name}}}": value for name, value in found if value}


def fill(provider: Provider, text: str, values: Mapping[str, str]) -> str:
    """A text with its placeholders filled. Raises UsageError: a variable is unset."""
    for name, value in values.items():
        text = text.replace(name, value)
    for name, variables in provider.variables.items():
        if f"{{{name}}}" in text:
            raise UsageError(f"{provider.shown} needs {variables[0]}, which is unset", f"export {variables[0]}=…")
    return text


def fixed_headers(provider: Provider, values: Mapping[str, str]) -> list[tuple[str, str]]:
    """The headers of the provider's row."""
    return [(name, fill(provider, value, values)) for name, value in provider.headers.items()]


def body_model(provider: Provider, model: str, values: Mapping[str, str]) -> str:
    """The model as the body names it. Raises UsageError: a variable is unset."""
    scheme, colon, _ = provider.model_form.partition(":")
    if not model or (colon and model.startswith(scheme + colon)):
        return model
    return fill(provider, provider.model_form, values).replace("{model}", model)


def build_url(
    choice: ProviderModel, key: Secret | None = None, values: Mapping[str, str] = MappingProxyType({})
) -> str:
    """The full URL: the provider's own base, or --endpoint completed by the provider's rule.

    `values` fill the placeholders of the provider's variables. Raises UsageError: one is unset, or no endpoint is
    known; ConfigError: the endpoint is not a URL.
    """
    provider, endpoint = choice.provider, choice.endpoint
    model = choice.model or provider.model_default or ""
    # NVIDIA's hosted route: dots of the model's name become `_` in the path and stay dots in the body.
    model_path = provider.model_paths.get(model, quote(model.replace(".", "_")))
    parts = {"{model_path}": model_path, "{model_name}": quote(model, safe="/@"), "{model}": quote(model, safe="")}
    escaped = {name: quote(value, safe="") for name, value in values.items()}
    path = provider.path
    for name, value in (escaped | parts).items():
        path = path.replace(name, value)
    if endpoint is None:
        hosts = (base for prefix, base in provider.key_hosts.items() if key and key.reveal().startswith(prefix))
        return fill(provider, next(hosts, _own_base(provider)) + path, escaped)
    given = checked(endpoint, "--endpoint")
    rule = {"azure": azure_path, "chat": chat_path}.get(provider.url_rule, overlap_path)
    full = fill(provider, rule(given, path), escaped)
    return given._replace(path=full, fragment="").geturl()


def _own_base(provider: Provider) -> str:
    """The provider's base. Raises UsageError: only the user can know it."""
    unknown = set(re.findall(r"{(\w+)}", provider.base)) - set(provider.variables)
    if unknown:
        kin = [
            r.base for r in load_table().rows.values() if r.id == provider.id or set(r.aliases) & set(provider.aliases)
        ]
        raise UsageError(f"{provider.shown} needs --endpoint URL", f"as in --endpoint {' or '.join(kin)}")
    return provider.base


def checked(endpoint: str, where: str) -> SplitResult:
    """The parts of a URL that may be called. Raises ConfigError."""
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError:
        raise ConfigError(f"{where}: not a URL", "write all of it: https://host/path") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or not endpoint.isprintable():
        raise ConfigError(f"{where}: not an http(s) URL", "write all of it: https://host/path")
    if parts.username or parts.password:
        hint = "use --api-key-env or --header 'Name: @env:VARIABLE'"
        raise ConfigError(f"{where}: contains a user name or password", hint)
    return parts


def overlap_path(parts: SplitResult, path: str) -> str:
    """An endpoint's path completed by the provider's: kept if it ends in a rerank route, else joined at the overlap.

    `/v1` + `/v1/rerank` -> `/v1/rerank`; `/gateway` + `/v2/rerank` -> `/gateway/v2/rerank`; an endpoint that ends in
    another version keeps it: `/v1` + `/v2/rerank` -> `/v1/rerank`.
    """
    have = parts.path.rstrip("/")
    wanted = path.split("/")[1:]
    given = have.split("/")[1:] if have else []
    for n in range(min(len(wanted), len(given)), 0, -1):
        if given[-n:] == wanted[:n]:
            return "/".join([have, *wanted[n:]])
    if have.endswith(RERANK_ENDINGS):
        return have
    if given and given[-1] in ("v1", "v2") and wanted[0] in ("v1", "v2"):
        return have + "/" + "/".join(wanted[1:])
    return have + path


def azure_path(parts: SplitResult, _path: str) -> str:
    """Azure's rule (LiteLLM's, adjusted): a full URL is kept, anything shorter is completed."""
    have = parts.path.rstrip("/")
    if have.endswith("/rerank"):
        return have
    if have.endswith(("/v1", "/v2")):
        return have + "/rerank"
    if have.endswith("/providers/cohere"):
        return have + "/v2/rerank"
    if not have and (parts.hostname or "").endswith(".services.ai.azure.com"):
        return "/providers/cohere/v2/rerank"
    return have + "/v2/rerank"


def chat_path(parts: SplitResult, path: str) -> str:
    """OpenAI's rule: an endpoint with a version in its path is a base, `/v1beta/openai` -> `…/chat/completions`.

    Anything else gets what is missing of the provider's path, and a full URL is kept.
    """
    have = parts.path.rstrip("/")
    versioned = any(VERSION.fullmatch(part) for part in have.split("/"))
    if versioned and not have.endswith("/chat") and not have.endswith(CHAT_ROUTE):
        return have + CHAT_ROUTE
    return have if have.endswith(CHAT_ROUTE) else overlap_path(parts, path)


def azure_candidates(url: str) -> str:
    """The three places where an Azure endpoint may answer, for the hint of a 404."""
    parts = urlsplit(url)
    host = f"{parts.scheme}://{parts.netloc}"
    return ", ".join(f"{host}{path}" for path in ("/v2/rerank", "/v1/rerank", "/providers/cohere/v2/rerank"))
