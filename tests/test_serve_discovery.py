"""What clients and gateways ask before they rank: models, health, TEI's `/info`; and paths as they really come."""

from __future__ import annotations

import json

import pytest
from serve.harness import serving

from rerank_cli.version import __version__


@pytest.fixture(scope="module")
def free():
    with serving(names=("house/model",)) as server:
        yield server


@pytest.fixture(scope="module")
def locked():
    with serving(keys=("key-1",), strict=True) as server:
        yield server


@pytest.mark.parametrize("path", ["/health", "/v1/health", "/api/v1/health", "//health", "/health/", "/v1/health/live"])
def test_health(free, locked, path):
    for server in (free, locked):
        assert (server.get(path).status, server.get(path).json) == (200, {"status": "ok"})


@pytest.mark.parametrize("path", ["/ready", "/v1/health/ready", "/.well-known/ready"])
def test_ready(free, locked, path):
    assert free.get(path).json == {"status": "ready", "model": "free"}
    locked.app.admission.draining = True
    try:
        assert locked.get(path).status == 503
    finally:
        locked.app.admission.draining = False


def test_weaviate_s_container(free):
    assert free.get("/.well-known/live").status == 204
    assert free.get("/meta").json == {"model": "free", "revision": None, "version": __version__}


def test_tei_s_info(free):
    """What Dify's plugin for TEI reads before its first request."""
    info = free.get("/info").json
    assert info["model_id"] == "free"
    assert list(info["model_type"]) == ["reranker"]
    assert info["max_input_length"] == 4096, "longer documents are read in several windows"
    assert info["max_client_batch_size"] == 10_000
    assert info["version"] == __version__


@pytest.mark.parametrize("name", ["free", "house/model", "any", "my/rerank", "BAAI/bge-reranker-v2-m3"])
@pytest.mark.parametrize("base", ["/v1/models/", "/models/", "/openai/v1/models/"])
def test_any_model_answers(free, base, name):
    """Xinference's client needs the `model_` members, the SDKs of OpenAI and Cohere the others."""
    model = free.get(base + name).json
    assert free.get(f"{base}{name}/").json == model
    assert free.send("HEAD", base + name).status == 200
    assert (model["id"], model["object"], model["owned_by"]) == (name, "model", "rerank")
    assert (model["name"], model["endpoints"]) == (name, ["rerank"])
    assert (model["model_type"], model["model_name"], model["model_ability"]) == ("rerank", "free", ["rerank"])


def test_models_of_a_strict_server_with_keys(locked):
    key = {"authorization": "Bearer key-1"}
    assert locked.get("/v1/models/free").status == 401
    assert locked.get("/v1/models/free", **key).json["id"] == "free"
    missing = locked.get("/v1/models/other", **key)
    assert (missing.status, missing.json["message"]) == (
        404,
        "model 'other' not found, make sure the correct model ID was used and that you have access to the model.",
    )
    for path in ("/info", "/meta", "/v1/models"):
        assert locked.get(path).status == 401
        assert locked.get(path, **key).status == 200


def test_xinference_s_client_learns_whether_to_send_its_key(free, locked):
    assert free.get("/v1/cluster/auth").json == {"auth": False}
    assert locked.get("/v1/cluster/auth").json == {"auth": True}


def test_a_404_names_the_paths(free):
    answer = free.post("/v1/chat/completions", {})
    assert answer.status == 404
    for path in ("/v2/rerank", "/v1/rerank", "/ranking", "/score", "/health", "/v1/models", "/docs"):
        assert path in answer.json["message"]


def raw(server, head, body=b""):
    """The head of the reply to a request as it is written."""
    with server.raw() as sock:
        sock.sendall(head.encode() + b"\r\n\r\n" + body)
        reply = b""
        while part := sock.recv(65536):
            reply += part
            if b"\r\n\r\n" in reply and b"content-length" in reply.lower():
                size = int(reply.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                if len(reply.split(b"\r\n\r\n", 1)[1]) >= size:
                    break
    return reply.decode()


def test_absolute_targets(free):
    host = f"127.0.0.1:{free.port}"
    assert '{"status":"ok"}' in raw(free, f"GET http://{host}/health HTTP/1.1\r\nhost: {host}")
    body = json.dumps({"query": "q", "documents": ["3"]}).encode()
    head = f"POST http://{host}/v1/rerank HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    assert "relevance_score" in raw(free, head, body)


def test_a_request_whose_end_is_told_twice_closes_the_connection(free):
    """Or what follows could be taken for a request of its own by one side and not by the other."""
    body = b'{"query": "q", "documents": ["3"]}'
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    head = "POST /v1/rerank HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ntransfer-encoding: chunked"
    assert "connection: close" not in raw(free, head, chunked)
    with free.raw() as sock:
        sock.sendall(
            f"{head}\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            + chunked
            + b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
        )
        reply = b""
        while part := sock.recv(65536):  # until the server closes
            reply += part
    assert reply.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in reply
