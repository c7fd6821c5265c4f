"""Requests signed with the credentials of a cloud, by the cloud's own library: the extras `aws` and `gcp`.

Credentials are looked up at the first request, as the library does it: variables, files, profiles, the machine's role.
It knows the headers of one request: nothing of providers, models or replies.
"""

from __future__ import annotations

import threading
import warnings
from typing import TYPE_CHECKING, Any, Protocol

from rerank_cli.errors import MissingKeyError, ModelError, RemoteError, UsageError
from rerank_cli.scorers.remote.keys import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

LOGIN = "gcloud auth application-default login, or GOOGLE_APPLICATION_CREDENTIALS=FILE"


class Signer(Protocol):
    """Thread-safe. `secrets`: what it has put into headers and must not appear in a message."""

    secrets: tuple[Secret, ...]

    def find(self) -> Any:
        """The credentials, looked up once. Raises MissingKeyError: there are none that can be used."""

    def sign(self, url: str, body: bytes, content_type: str) -> dict[str, str]:
        """The headers that authenticate a POST.

        Raises MissingKeyError as `find` does; RemoteError: the credentials have expired and cannot be renewed.
        """


def open_signer(signer: tuple[str, str], values: Mapping[str, str], env: Mapping[str, str]) -> Signer:
    """The signer of a row (`Provider.signer`). Raises ModelError: its package is not installed."""
    name, scope = signer
    if name == "aws":
        return AwsSigner(scope, values.get("{region}", ""), env)
    return GoogleSigner(scope)


class AwsSigner:
    """Signature Version 4 by botocore.

    Source: docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
    """

    def __init__(self, service: str, region: str, env: Mapping[str, str]) -> None:
        if not region:
            raise UsageError("requests to AWS are signed for a region, and AWS_REGION is unset", "export AWS_REGION=…")
        try:
            import botocore.auth  # noqa: F401
        except ImportError as error:
            raise _missing("aws", error) from None
        self.secrets: tuple[Secret, ...] = ()
        self._service, self._region, self._env = service, region, env
        self._credentials: Any = None
        self._lock = threading.Lock()

    def find(self) -> Any:
        """See `Signer`."""
        with self._lock:
            self._credentials = self._credentials or self._found()
        return self._credentials

    def _found(self) -> Any:
        from botocore.credentials import Credentials
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session

        env = self._env
        if env.get("AWS_ACCESS_KEY_ID") and env.get("AWS_SECRET_ACCESS_KEY"):
            return Credentials(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], env.get("AWS_SESSION_TOKEN"))
        try:
            found = Session(profile=env.get("AWS_PROFILE")).get_credentials()
        except BotoCoreError as error:
            raise MissingKeyError(f"the AWS credentials cannot be read: {error}", "see `aws configure list`") from None
        if found is None:
            hint = "export AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=…, or AWS_PROFILE=…"
            raise MissingKeyError("no AWS credentials: not in the environment, in a profile or of this machine", hint)
        return found

    def sign(self, url: str, body: bytes, content_type: str) -> dict[str, str]:
        """See `Signer`."""
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import BotoCoreError

        try:
            now = self.find().get_frozen_credentials()
        except BotoCoreError as error:
            raise RemoteError(f"the AWS credentials cannot be renewed: {error}", "aws sso login, or new keys") from None
        self.secrets = tuple(Secret(part) for part in (now.secret_key, now.token) if part)
        request = AWSRequest("POST", url, {"Content-Type": content_type}, body)
        SigV4Auth(now, self._service, self._region).add_auth(request)
        return {name: value for name, value in request.headers.items() if name != "Content-Type"}


class GoogleSigner:
    """Access tokens by google-auth: application default credentials.

    Source: docs.cloud.google.com/docs/authentication/application-default-credentials
    """

    def __init__(self, scope: str) -> None:
        try:
            import google.auth.transport.requests  # noqa: F401
        except ImportError as error:
            raise _missing("gcp", error) from None
        self.secrets: tuple[Secret, ...] = ()
        self._scope = scope
        self._credentials: Any = None
        self._lock = threading.Lock()

    def find(self) -> Any:
        """See `Signer`."""
        import google.auth
        import google.auth.exceptions

        try:
            with self._lock, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about the quota project, which a header names
                self._credentials = self._credentials or google.auth.default(scopes=[self._scope])[0]
        except google.auth.exceptions.DefaultCredentialsError:
            raise MissingKeyError("no Google credentials that can be used", LOGIN) from None
        return self._credentials

    def sign(self, url: str, body: bytes, content_type: str) -> dict[str, str]:  # noqa: ARG002 a token signs nothing
        """See `Signer`."""
        import google.auth.exceptions
        import google.auth.transport.requests

        credentials = self.find()
        try:
            with self._lock:
                if not credentials.valid:
                    credentials.refresh(google.auth.transport.requests.Request())
                token = credentials.token
        except google.auth.exceptions.GoogleAuthError:  # its text may quote the request for the token
            raise RemoteError("Google gave no access token for the credentials", LOGIN) from None
        self.secrets = (Secret(token),)
        return {"Authorization": f"Bearer {token}"}


def _missing(extra: str, error: ImportError) -> ModelError:
    hint = f"install it: pip install 'rerank-cli[{extra}]'"
    return ModelError(f"signing requests needs the package `{error.name or extra}`", hint)
