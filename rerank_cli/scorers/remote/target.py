"""From a reference, the settings and the environment to one URL, its headers and the constants of its requests.

Everything that can be refused without the network is refused here. It opens no connection; of names it looks up only
localhost.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus, urlsplit

import orjson

from rerank_cli.errors import ConfigError, MissingKeyError, UsageError, did_you_mean
from rerank_cli.net import SENSITIVE, stays_on_machine
from rerank_cli.scorers.remote.keys import Header, Secret, auth_headers, extra_headers, find_key
from rerank_cli.scorers.remote.providers import MEANT, Provider, ProviderModel, load_table
from rerank_cli.scorers.remote.signers import Signer, open_signer
from rerank_cli.scorers.remote.url import body_model, build_url, checked, fixed_headers, values_of
from rerank_cli.settings import NAMED_KEYS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rerank_cli.settings import ModelSettings, RemoteSettings


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
    signer: Signer | None = None  # where there is no key
    named_model: str = ""  # as the body names it

    @property
    def shown_url(self) -> str:
        """The URL for messages: a query string may hold secrets and is left out."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}{parts.path}" + ("?…" if parts.query else "")

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """All values that must not appear in a message."""
        headers = (value for _, value in self.headers if isinstance(value, Secret))
        signed = self.signer.secrets if self.signer else ()
        return (*headers, *([self.key] if self.key else []), *signed, *query_secrets(self.url))

    def asked(self, query: str) -> str:
        """A query as it is sent."""
        return self.provider.query_with(self.instruction, query)

    @property
    def listwise(self) -> bool:
        """Whether scores of different requests cannot be compared."""
        return load_table().is_listwise(f"{self.provider.id}:{self.model}")


def choose(reference: str, remote: RemoteSettings) -> ProviderModel:
    """Look up `provider:model` or a named endpoint; --endpoint overrides a named URL.

    Raises UsageError: an unknown provider, or a model that is missing; ConfigError: a named endpoint is malformed.
    """
    try:
        reference.encode()
    except UnicodeEncodeError:
        raise UsageError("-m: the model's name is not UTF-8", "is the terminal set to another encoding?") from None
    written = reference if reference in remote.endpoints else reference.partition(":")[0]
    if reference in remote.endpoints:
        choice = _named(reference, remote.endpoints[reference], remote.endpoint)
    elif ":" in reference:
        name, _, model = reference.partition(":")  # the model may be empty or hold colons
        if name.lower() in MEANT:
            raise UsageError(f"unknown provider `{name}`", load_table().hint(reference))
        choice = ProviderModel(load_table().find(name, remote.endpoint), model, remote.endpoint)
    else:
        hint = did_you_mean(reference, remote.endpoints)
        hint = hint or "write provider:model, as in cohere:rerank-v3.5"
        raise UsageError(f"`{reference}` is not a named endpoint", hint)
    provider = choice.provider
    if provider.model_required and not choice.model and provider.model_default is None:
        by_name = reference in remote.endpoints
        hint = f'add model = "…" under [endpoints.{reference}]' if by_name else f"write {written}:MODEL"
        raise UsageError(f"`{reference}` does not name a model", hint)
    provider = replace(load_table().with_limits(provider, choice.model), written=written)
    return replace(choice, provider=provider)


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
        checked(str(entry["url"]), f"{where}.url")


def _named(name: str, entry: Mapping[str, object], endpoint: str | None) -> ProviderModel:
    check_named(f"endpoints.{name}", entry)
    url = endpoint or (str(entry["url"]) if entry.get("url") else None)
    key_env = str(entry["api_key_env"]) if entry.get("api_key_env") else None
    return ProviderModel(load_table().find(str(entry["provider"]), url), str(entry.get("model", "")), url, key_env)


def open_target(reference: str, settings: ModelSettings, env: Mapping[str, str]) -> Target:
    """Find URL, key and headers, and refuse what must not be sent.

    Raises UsageError: no endpoint, no key, no package to sign with, a key over plain http, bad --header or --extra.
    """
    remote = settings.remote
    choice = choose(reference, remote)
    provider, model = choice.provider, choice.model or choice.provider.model_default or ""
    key, values = find_key(provider, remote, env, choice.key_env), values_of(provider, env)
    url = build_url(choice, key, values)
    headers = _headers(provider, key, remote, env, values)
    has_secret = any(isinstance(value, Secret) for _, value in headers)
    signer = open_signer(provider.signer, values, env) if provider.signer and not has_secret else None
    _refuse_unsafe(url, has_secret or signer is not None)
    loopback = stays_on_machine(urlsplit(url).hostname or "")
    if settings.offline and not loopback:
        hint = "leave --offline (RERANK_OFFLINE) out, or choose a local model: -m builtin"
        raise UsageError(f"--offline: {provider.shown} is on the network, at {urlsplit(url).hostname}", hint)
    if provider.key_required and not (has_secret or signer or loopback):
        message = (
            f"no key for {provider.shown}: the environment variable `{choice.key_env or provider.keys[0]}` is unset"
        )
        raise MissingKeyError(message, "export it, or name another with --api-key-env NAME or --api-key-file FILE")
    if settings.template:
        raise UsageError(f"{provider.shown} does not take --template", "it is for decoders that run on this machine")
    if settings.load_as != "auto":
        raise UsageError(f"--as is for local models, and {provider.shown} is a provider", "leave `--as` out")
    _refuse_instruction(provider, model, settings.instruction)
    return Target(
        provider,
        model,
        url,
        headers,
        parse_extra(remote.extra, provider),
        settings.instruction,
        key,
        signer,
        body_model(provider, model, values),
    )


def _headers(
    provider: Provider, key: Secret | None, remote: RemoteSettings, env: Mapping[str, str], values: Mapping[str, str]
) -> tuple[Header, ...]:
    """The headers of each request; of two with the same name the later one counts."""
    headers = [
        *fixed_headers(provider, values),
        *auth_headers(provider, key, remote.auth_header),
        *([("X-Client-Name", _line(remote.client_name, "--client-name"))] if remote.client_name else []),
        *extra_headers(remote.headers, env),
    ]
    return tuple({name.lower(): (name, value) for name, value in headers}.values())


def _refuse_instruction(provider: Provider, model: str, instruction: str | None) -> None:
    if not instruction or provider.follows_instruction(model):
        return
    if provider.has_instruction:
        raise UsageError(f"{provider.shown}: {model} does not follow instructions", "leave --instruction out")
    raise UsageError(f"{provider.shown} does not take --instruction", "send fields of one provider with --extra '{…}'")


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
