"""From a reference, the settings and the environment to one URL, its headers and the constants of its requests.

Everything that can be refused without the network is refused here. It opens no connection; of names it looks up only
localhost.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, unquote_plus, urlsplit

import orjson

from rerank_cli.errors import ConfigError, MissingKeyError, UsageError, did_you_mean
from rerank_cli.net import SENSITIVE, stays_on_machine
from rerank_cli.scorers.remote.keys import Header, Secret, auth_headers, extra_headers, find_key
from rerank_cli.scorers.remote.providers import Provider, load_table
from rerank_cli.settings import NAMED_KEYS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rerank_cli.settings import ModelSettings, RemoteSettings

RERANK_ENDINGS = ("/rerank", "/reranking", "/reranks", "/rerankings", "/ranking", "/text-rerank")


@dataclass(frozen=True, slots=True)
class ProviderModel:
    """A reference after names are looked up: provider, model, endpoint, and the variable of its key."""

    provider: Provider
    model: str
    endpoint: str | None
    key_env: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Everything a request needs except query and documents. Secrets are shown as `***`."""

    provider: Provider
    model: str
    url: str
    headers: tuple[Header, ...]
    extra: Mapping[str, Any] = field(default_factory=dict)
    instruction: str | None = None
    key: Secret | None = None  # alone: a header's template may wrap it

    @property
    def shown_url(self) -> str:
        """The URL for messages: a query string may hold secrets and is left out."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}{parts.path}" + ("?…" if parts.query else "")

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """All values that must not appear in a message."""
        headers = (value for _, value in self.headers if isinstance(value, Secret))
        return (*headers, *([self.key] if self.key else []), *query_secrets(self.url))

    @property
    def listwise(self) -> bool:
        """Whether scores of different requests cannot be compared."""
        return load_table().is_listwise(self.model)


def choose(reference: str, remote: RemoteSettings) -> ProviderModel:
    """Look up `provider:model` or a named endpoint; --endpoint overrides a named URL.

    Raises UsageError: an unknown provider, or a model that is missing; ConfigError: a named endpoint is malformed.
    """
    try:
        reference.encode()
    except UnicodeEncodeError:
        raise UsageError("-m: the model's name is not UTF-8", "is the terminal set to another encoding?") from None
    if reference in remote.endpoints:
        choice = _named(reference, remote.endpoints[reference], remote.endpoint)
    elif ":" in reference:
        name, _, model = reference.partition(":")  # the model may be empty or hold colons
        choice = ProviderModel(load_table().find(name, remote.endpoint), model, remote.endpoint)
    else:
        hint = did_you_mean(reference, remote.endpoints)
        hint = hint or "write provider:model, as in cohere:rerank-v3.5"
        raise UsageError(f"`{reference}` is not a named endpoint", hint)
    provider = choice.provider
    if provider.model_required and not choice.model and provider.model_default is None:
        by_name = reference in remote.endpoints
        hint = f'add model = "…" under [endpoints.{reference}]' if by_name else f"write {provider.id}:MODEL"
        raise UsageError(f"`{reference}` does not name a model", hint)
    return choice


def check_named(where: str, entry: Mapping[str, object]) -> None:
    """Raise ConfigError for an invalid named endpoint; `where` is `endpoints.NAME`, with its file if known."""
    for key, value in entry.items():
        if key not in NAMED_KEYS:
            hint = did_you_mean(key, NAMED_KEYS) or ", ".join(NAMED_KEYS)
            raise ConfigError(f"{where}: unknown key `{key}`", hint)
        if not isinstance(value, str):
            raise ConfigError(f"{where}.{key}: expected a string", f'for example {key} = "…"')
    if "provider" not in entry:
        raise ConfigError(f"{where}: `provider` is missing", f"one of: {', '.join(load_table().rows)}")
    try:
        load_table().find(str(entry["provider"]))
    except UsageError as error:
        raise ConfigError(f"{where}.provider: {error.message}", error.hint) from None
    if entry.get("url"):
        _checked(str(entry["url"]), f"{where}.url")


def _named(name: str, entry: Mapping[str, object], endpoint: str | None) -> ProviderModel:
    check_named(f"endpoints.{name}", entry)
    url = endpoint or (str(entry["url"]) if entry.get("url") else None)
    key_env = str(entry["api_key_env"]) if entry.get("api_key_env") else None
    return ProviderModel(load_table().find(str(entry["provider"]), url), str(entry.get("model", "")), url, key_env)


def open_target(reference: str, settings: ModelSettings, env: Mapping[str, str]) -> Target:
    """Find URL, key and headers, and refuse what must not be sent.

    Raises UsageError: no endpoint, no key, a key over plain http, bad --header or --extra.
    """
    remote = settings.remote
    choice = choose(reference, remote)
    provider = choice.provider
    key = find_key(provider, remote, env, choice.key_env)
    url = build_url(choice, key)
    headers = [
        *((name, value) for name, value in provider.headers.items()),
        *auth_headers(provider, key, remote.auth_header),
        *([("X-Client-Name", _line(remote.client_name, "--client-name"))] if remote.client_name else []),
        *extra_headers(remote.headers, env),
    ]
    headers = list({name.lower(): (name, value) for name, value in headers}.values())
    _refuse_unsafe(url, any(isinstance(value, Secret) for _, value in headers))
    loopback = stays_on_machine(urlsplit(url).hostname or "")
    if settings.offline and not loopback:
        hint = "leave --offline (RERANK_OFFLINE) out, or choose a local model: -m builtin"
        raise UsageError(f"--offline: {provider.id} is on the network, at {urlsplit(url).hostname}", hint)
    if provider.key_required and not any(isinstance(value, Secret) for _, value in headers) and not loopback:
        message = f"no key for {provider.id}: the environment variable `{choice.key_env or provider.keys[0]}` is unset"
        raise MissingKeyError(message, "export it, or name another with --api-key-env NAME or --api-key-file FILE")
    if settings.load_as != "auto":
        raise UsageError(f"--as is for local models, and {provider.id} is a provider", "leave `--as` out")
    if settings.instruction and not provider.instruction:
        raise UsageError(f"{provider.id} does not take --instruction", "send fields of one provider with --extra '{…}'")
    model = choice.model or provider.model_default or ""
    return Target(provider, model, url, tuple(headers), parse_extra(remote.extra, provider), settings.instruction, key)


def build_url(choice: ProviderModel, key: Secret | None = None) -> str:
    """The full URL: the provider's own base, or --endpoint completed by the provider's rule."""
    provider, endpoint = choice.provider, choice.endpoint
    # NVIDIA's hosted route: dots of the model's name become `_` in the path and stay dots in the body.
    model_path = provider.model_paths.get(choice.model, quote(choice.model.replace(".", "_")))
    path = provider.path.replace("{model_path}", model_path).replace("{model}", quote(choice.model, safe=""))
    if endpoint is None:
        if "{" in provider.base:
            kin = [
                r.base for r in load_table().rows.values() if r is provider or set(r.aliases) & set(provider.aliases)
            ]
            raise UsageError(f"{provider.id} needs --endpoint URL", f"as in --endpoint {' or '.join(kin)}")
        hosts = (base for prefix, base in provider.key_hosts.items() if key and key.reveal().startswith(prefix))
        return next(hosts, provider.base) + path
    parts = _checked(endpoint, "--endpoint")
    rule = azure_path if provider.url_rule == "azure" else overlap_path
    full = rule(parts, path)
    return parts._replace(path=full, fragment="").geturl()


def _checked(endpoint: str, where: str) -> SplitResult:
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


def azure_candidates(url: str) -> str:
    """The three places where an Azure endpoint may answer, for the hint of a 404."""
    parts = urlsplit(url)
    host = f"{parts.scheme}://{parts.netloc}"
    return ", ".join(f"{host}{path}" for path in ("/v2/rerank", "/v1/rerank", "/providers/cohere/v2/rerank"))


def query_secrets(url: str) -> tuple[Secret, ...]:
    """The values of a URL's query string, as written and as meant: any may be a key."""
    values = [pair.rpartition("=")[2] for pair in urlsplit(url).query.split("&")]
    return tuple(Secret(text) for value in values for text in dict.fromkeys((value, unquote_plus(value))) if text)


def _refuse_unsafe(url: str, has_secret: bool) -> None:
    parts = urlsplit(url)
    in_query = any(SENSITIVE.search(pair.partition("=")[0]) for pair in parts.query.split("&"))
    if parts.scheme == "http" and (has_secret or in_query) and not stays_on_machine(parts.hostname or ""):
        hint = "use https://, or unset the key's variable if this endpoint needs none"
        raise UsageError(f"a key is not sent over plain http to {parts.hostname}", hint)


def _line(value: str, flag: str) -> str:
    if not value.isascii() or not value.isprintable():
        raise UsageError(f"{flag} is not a line of ASCII text", "give letters, digits and signs")
    return value


def parse_extra(text: str | None, provider: Provider) -> dict[str, Any]:
    """--extra as an object; it may not set the fields that rerank fills, nor send nulls."""
    if not text:
        return {}
    try:
        extra = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise UsageError(f"--extra is not JSON: {error}", """write --extra '{"priority": 1}'""") from None
    if not isinstance(extra, dict):
        raise UsageError("--extra is not a JSON object", """write --extra '{"priority": 1}'""")
    taken = [path for path in (provider.model, provider.query, provider.docs, provider.top) if path]
    for path in _leaves(extra, ""):
        if any(path == t or path.startswith(t + ".") or t.startswith(path + ".") for t in taken):
            raise UsageError(f"--extra may not set `{path}`: rerank fills it", "leave it out")
    return extra


def _leaves(value: dict[str, Any], prefix: str) -> list[str]:
    paths: list[str] = []
    for key, item in value.items():
        if item is None:
            raise UsageError(f"--extra: `{prefix}{key}` is null, which providers refuse", "leave it out")
        paths += _leaves(item, f"{prefix}{key}.") if isinstance(item, dict) and item else [f"{prefix}{key}"]
    return paths
