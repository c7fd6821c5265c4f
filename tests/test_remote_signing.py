"""Requests signed for AWS and Google: as their own libraries sign them, checked by a server on loopback.

The checker is written after AWS's description of Signature Version 4, and is itself checked against AWS's published
test vectors and against requests of botocore's own client.
"""

from __future__ import annotations

import hashlib
import hmac
import http.server
import json
import re
import sys
import threading
from contextlib import closing
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from remote.loopback import DOCUMENTED, Loopback, as_json

from rerank_cli.errors import MissingKeyError, RemoteError, UsageError
from rerank_cli.records import Pair
from rerank_cli.report import Report
from rerank_cli.scorers.registry import open_gateway
from rerank_cli.scorers.remote import open_remote
from rerank_cli.scorers.remote.budget import Budget
from rerank_cli.settings import Limits, ModelSettings, RemoteSettings

ID, SECRET, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "session+token/0123456789=="
AWS = {"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": ID, "AWS_SECRET_ACCESS_KEY": SECRET}
PAIRS = [Pair("q", text) for text in ("a", "b", "c")]
MODELS = {"bedrock": "amazon.rerank-v1:0", "bedrock-invoke": "cohere.rerank-v3-5:0"}
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<id>\w+)/(?P<scope>\d{8}/[\w-]+/\w+/aws4_request), "
    r"SignedHeaders=(?P<signed>[\w;-]+), Signature=(?P<signature>[0-9a-f]{64})"
)


def signature(method: str, path: str, headers: dict[str, str], body: bytes, secret: str = SECRET) -> str:
    """What the signature of a request has to be (docs.aws.amazon.com, "Create a signed AWS API request")."""
    found = AUTHORIZATION.fullmatch(headers["authorization"])
    assert found, headers["authorization"]
    signed = found["signed"].split(";")
    canonical = "\n".join(
        [
            method,
            quote(path, safe="/-_.~"),  # the path as sent is encoded once more, as for every service but S3
            "",
            *(f"{name}:{' '.join(headers[name].split())}" for name in signed),
            "",
            ";".join(signed),
            hashlib.sha256(body).hexdigest(),
        ]
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = f"AWS4{secret}".encode()
    for part in found["scope"].split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    to_sign = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], found["scope"], digest])
    return hmac.digest(key, to_sign.encode(), "sha256").hex()


def is_signed(seen) -> bool:
    wanted = signature("POST", seen.path, seen.headers, seen.raw)
    return hmac.compare_digest(wanted, AUTHORIZATION.fullmatch(seen.headers["authorization"])["signature"])


def open_at(url: str, name: str, env: dict[str, str], **remote: object):
    settings = RemoteSettings(endpoint=url, **{"retries": 0, **remote})
    return open_remote(f"{name}:{MODELS.get(name, '')}", ModelSettings(remote=settings), env, Report())


def answer(name: str):
    return lambda _seen: as_json(DOCUMENTED[name]["response"])


@pytest.mark.parametrize(
    ("method", "wanted"),
    [
        ("GET", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    ],
)
def test_the_checker_agrees_with_the_vectors_that_aws_publishes(method, wanted):
    """get-vanilla and post-vanilla of the Signature Version 4 test suite."""
    scope = "Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request"
    headers = {
        "host": "example.amazonaws.com",
        "x-amz-date": "20150830T123600Z",
        "authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host;x-amz-date, Signature={wanted}",
    }
    assert signature(method, "/", headers, b"", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY") == wanted


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("more", [{}, {"AWS_SESSION_TOKEN": TOKEN}], ids=["key", "session"])
def test_requests_to_bedrock_are_signed(name, more):
    pytest.importorskip("botocore")
    with Loopback(answer(name)) as server, closing(open_at(server.url, name, AWS | more)) as scorer:
        scores = scorer.score(PAIRS, Limits())
        scorer.score([Pair("another", pair.text) for pair in PAIRS], Limits())
    assert [score.value for score in scores] == DOCUMENTED[name]["scores"]
    for seen in server.seen:
        assert is_signed(seen)
        assert f"Credential={ID}/" in seen.headers["authorization"]
        assert "/us-east-1/bedrock/aws4_request" in seen.headers["authorization"]
        assert {"content-type", "host", "x-amz-date"} <= set(re.split(r"[=;, ]", seen.headers["authorization"]))
        assert seen.headers.get("x-amz-security-token") == more.get("AWS_SESSION_TOKEN")
        tampered = {**seen.headers, "content-type": "text/plain"}
        assert signature("POST", seen.path, tampered, seen.raw) not in seen.headers["authorization"]


@pytest.mark.parametrize("name", MODELS)
def test_botocores_own_client_sends_the_same_request(name, monkeypatch):
    """Path, body and signature: the client of the AWS SDK is the oracle."""
    session = pytest.importorskip("botocore.session").Session()
    session.set_credentials(ID, SECRET)
    service = {"bedrock": "bedrock-agent-runtime", "bedrock-invoke": "bedrock-runtime"}[name]
    texts = [pair.text for pair in PAIRS]
    with Loopback(answer(name)) as server:
        with closing(open_at(server.url, name, AWS)) as scorer:
            scorer.score(PAIRS, Limits())
        client = session.create_client(service, "us-east-1", endpoint_url=server.url)
        body = server.seen[0].body
        if name == "bedrock":
            client.rerank(**body)
        else:
            told = {"api_version": 2, "query": "q", "documents": texts, "top_n": 3}
            client.invoke_model(modelId=MODELS[name], body=json.dumps(told))
    ours, theirs = server.seen
    assert (ours.path, ours.body) == (theirs.path, theirs.body)
    assert is_signed(ours)
    assert is_signed(theirs)


def test_a_bedrock_key_is_sent_instead_of_a_signature():
    env = AWS | {"AWS_BEARER_TOKEN_BEDROCK": "bedrock-api-key-1234"}
    with Loopback(answer("bedrock-invoke")) as server, closing(open_at(server.url, "bedrock-invoke", env)) as scorer:
        scorer.score(PAIRS, Limits())
    assert server.seen[0].headers["authorization"] == "Bearer bedrock-api-key-1234"
    assert "x-amz-date" not in server.seen[0].headers


def test_secrets_of_a_signature_are_not_shown():
    pytest.importorskip("botocore")
    env = AWS | {"AWS_SESSION_TOKEN": TOKEN}

    def refuse(seen):
        return as_json({"message": f"no: {SECRET} {seen.headers['x-amz-security-token']}"}, 403)

    with (
        Loopback(refuse) as server,
        closing(open_at(server.url, "bedrock", env)) as scorer,
        pytest.raises(RemoteError) as caught,
    ):
        scorer.score(PAIRS, Limits())
    assert "answered 403" in caught.value.message
    assert SECRET not in caught.value.message
    assert TOKEN not in caught.value.message


@pytest.mark.parametrize("name", MODELS)
def test_the_region_must_be_known(name):
    env = {key: value for key, value in AWS.items() if key != "AWS_REGION"}
    for remote in ({}, {"endpoint": "http://127.0.0.1:9"}):
        with pytest.raises(UsageError, match="AWS_REGION") as caught:
            open_remote(f"{name}:m", ModelSettings(remote=RemoteSettings(**remote)), env, Report())
        assert caught.value.hint == "export AWS_REGION=…"
    pytest.importorskip("botocore")
    scorer = open_remote(f"{name}:m", ModelSettings(), env | {"AWS_DEFAULT_REGION": "eu-central-1"}, Report())
    scorer.close()
    assert urlsplit(scorer.info.reason).hostname.endswith(".eu-central-1.amazonaws.com")


def test_a_model_may_be_an_arn():
    pytest.importorskip("botocore")
    arn = "arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/cohere.rerank-v3-5:0"
    with Loopback(answer("bedrock")) as server:
        settings = ModelSettings(remote=RemoteSettings(endpoint=server.url))
        with closing(open_remote(f"bedrock:{arn}", settings, AWS, Report())) as scorer:
            scorer.score(PAIRS, Limits())
    [seen] = server.seen
    told = seen.body["rerankingConfiguration"]["bedrockRerankingConfiguration"]
    assert told["modelConfiguration"] == {"modelArn": arn}


def test_a_profile_is_read_as_the_aws_tools_read_it(tmp_path, monkeypatch):
    pytest.importorskip("botocore")
    file = tmp_path / "credentials"
    file.write_text(f"[team]\naws_access_key_id = AKIDOFTEAM\naws_secret_access_key = {SECRET}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    env = {"AWS_REGION": "us-east-1", "AWS_PROFILE": "team"}
    with Loopback(answer("bedrock")) as server, closing(open_at(server.url, "bedrock", env)) as scorer:
        scorer.score(PAIRS, Limits())
    assert "Credential=AKIDOFTEAM/" in server.seen[0].headers["authorization"]
    assert is_signed(server.seen[0])


def test_credentials_that_are_missing_are_a_missing_key(tmp_path, monkeypatch):
    pytest.importorskip("botocore")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with Loopback(answer("bedrock")) as server:
        for env, words in (({}, "no AWS credentials"), ({"AWS_PROFILE": "nobody"}, "nobody")):
            scorer = open_at(server.url, "bedrock", {"AWS_REGION": "us-east-1", **env})
            with closing(scorer), pytest.raises(MissingKeyError, match=words):
                scorer.score(PAIRS, Limits())
    assert not server.seen


def test_a_server_without_credentials_does_not_start(tmp_path, monkeypatch):
    pytest.importorskip("botocore")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    settings = ModelSettings(model="bedrock:amazon.rerank-v1:0")
    with pytest.raises(MissingKeyError, match="no AWS credentials"):
        open_gateway(settings, {"AWS_REGION": "us-east-1"}, Report(), None, Budget(None))
    open_gateway(settings, AWS, Report(), None, Budget(None)).close()


def test_nothing_is_signed_over_plain_http():
    pytest.importorskip("botocore")
    with pytest.raises(UsageError, match="not sent over plain http"):
        open_at("http://bedrock.example", "bedrock", AWS)


@pytest.mark.parametrize(
    ("name", "module", "command"),
    [
        ("bedrock", "botocore.auth", "pip install 'rerank-cli[aws]'"),
        ("vertex", "google.auth.transport.requests", "pip install 'rerank-cli[gcp]'"),
    ],
)
@pytest.mark.parametrize("more", [(), ("--dry-run",)], ids=["run", "dry run"])
def test_a_package_that_is_missing_is_named_with_its_extra(run, monkeypatch, name, module, command, more):
    for part in (module, module.partition(".")[0]):
        monkeypatch.setitem(sys.modules, part, None)
    done = run("-q", "q", "-m", f"{name}:m", *more, stdin="a\n", env=AWS | {"GOOGLE_CLOUD_PROJECT": "p"})
    assert (done.code, done.out) == (4, b"")
    assert "signing requests needs the package" in done.err
    assert f"hint: install it: {command}" in done.err


class TokenServer:
    """Google's token endpoint: takes a signed assertion, gives a token; `asked` holds the forms that arrived."""

    def __init__(self) -> None:
        self.asked: list[dict[str, list[str]]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.asked.append(parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()))
                body = json.dumps({"access_token": "ya29.token-1234", "expires_in": 3600, "token_type": "Bearer"})
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *args: object) -> None:
                """Quiet."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/token"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def service_account(folder, token_url: str):
    """A key file as Google writes it, with a key made for this test."""
    rsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.rsa")
    from cryptography.hazmat.primitives import serialization

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, form, plain).decode()
    account = {"type": "service_account", "client_email": "test@example.iam", "private_key_id": "1", "private_key": pem}
    file = folder / "account.json"
    file.write_text(json.dumps({**account, "token_uri": token_url, "project_id": "my-project"}))
    return file


def test_vertex_gets_a_token_of_google_auth(tmp_path, monkeypatch):
    pytest.importorskip("google.auth.transport.requests")
    with TokenServer() as tokens, Loopback(answer("vertex")) as server:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(service_account(tmp_path, tokens.url)))
        with closing(open_at(server.url, "vertex", {"GOOGLE_CLOUD_PROJECT": "my-project"})) as scorer:
            scores = scorer.score(PAIRS, Limits())
            scorer.score([Pair("another", pair.text) for pair in PAIRS], Limits())
    assert [score.value for score in scores] == DOCUMENTED["vertex"]["scores"]
    [asked] = tokens.asked  # one token for both requests
    assert asked["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    assert [seen.headers["authorization"] for seen in server.seen] == ["Bearer ya29.token-1234"] * 2
    assert server.seen[0].headers["x-goog-user-project"] == "my-project"


@pytest.mark.parametrize("content", ["{}", "not JSON", None], ids=["empty", "text", "absent"])
def test_google_credentials_that_cannot_be_used_are_a_missing_key(tmp_path, monkeypatch, content):
    pytest.importorskip("google.auth.transport.requests")
    file = tmp_path / "key.json"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    with (
        Loopback(answer("vertex")) as server,
        closing(open_at(server.url, "vertex", {"GOOGLE_CLOUD_PROJECT": "my-project"})) as scorer,
        pytest.raises(MissingKeyError, match="no Google credentials") as caught,
    ):
        scorer.score(PAIRS, Limits())
    assert "gcloud auth application-default login" in caught.value.hint
    assert not server.seen


def test_a_token_in_the_environment_needs_no_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.auth", None)
    env = {"GOOGLE_CLOUD_PROJECT": "my-project", "GOOGLE_OAUTH_ACCESS_TOKEN": "ya29.mine"}
    with Loopback(answer("vertex")) as server, closing(open_at(server.url, "vertex", env)) as scorer:
        scorer.score(PAIRS, Limits())
    assert server.seen[0].headers["authorization"] == "Bearer ya29.mine"
