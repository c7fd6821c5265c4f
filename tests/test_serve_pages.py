"""The server's own pages, metrics, request ids and log are right."""

from __future__ import annotations

import pytest
from serve.harness import serving


@pytest.fixture(scope="module")
def free():
    """A scorer whose logit is the number that a text begins with."""
    with serving(allowed_hosts=("rerank.lan",)) as server:
        yield server


def test_health_models_openapi_and_docs_pages(free):
    assert free.get("/health").json == {"status": "ok"}
    assert free.get("/ready").json == {"status": "ready", "model": "free"}
    models = free.get("/v1/models").json
    assert [m["id"] for m in models["data"]] == [m["name"] for m in models["models"]] == ["free"]
    assert free.get("/openapi.json").json["openapi"].startswith("3.1")
    docs = free.get("/docs")
    assert docs.headers["content-type"].startswith("text/html")
    assert b"/v2/rerank" in docs.body
    assert b"<script" not in docs.body
    assert f"curl {free.url}/v2/rerank".encode() in docs.body
    assert b"curl http://rerank.lan:90/v2/rerank" in free.get("/docs", host="rerank.lan:90").body
    head = free.send("HEAD", "/health")
    assert (head.status, head.body) == (200, b"")


def test_metrics_count_requests_and_documents():
    with serving() as server:
        server.post("/v2/rerank", query="q", documents=["1", "2"])
        server.post("/rerank", query="q", texts=["1"])
        server.post("/v1/rerank", query="", documents=["1"])
        answer = server.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    text = answer.body.decode()
    assert 'rerank_requests_total{model="free",route="v2",status="200"} 1.0' in text
    assert 'rerank_requests_total{model="free",route="tei",status="200"} 1.0' in text
    assert 'rerank_requests_total{model="",route="v1",status="400"} 1.0' in text
    assert 'rerank_documents_total{model="free"} 3.0' in text
    assert "rerank_requests_inside 0.0" in text
    assert "rerank_waiting_tokens 0.0" in text


def test_request_ids_are_kept_if_harmless(free):
    ours = free.post("/rerank", query="q", documents=["a"])
    theirs = free.post("/rerank", query="q", documents=["a"], headers={"x-request-id": "job-7:a"})
    assert theirs.headers["x-request-id"] == theirs.json["id"] == "job-7:a"
    odd = free.post("/rerank", query="q", documents=["a"], headers={"x-request-id": "a b\t{}"})
    assert len({ours.json["id"], odd.json["id"], "a b\t{}"}) == 3


def test_the_log_has_no_text_of_requests():
    with serving() as server:
        server.post(
            "/v2/rerank?token=hidden", query="secret query", documents=["secret document"], model="secret-model"
        )
        server.post("/v2/rerank", query="secret query", documents=[{"a": "secret"}])
        server.send("POST", "/rerank", b'{"query": "secret', {"content-type": "application/json"})
    log = server.stderr.getvalue()
    assert "secret" not in log
    assert "hidden" not in log
    first, second, third = log.splitlines()
    assert "POST /v2/rerank status=200 documents=1" in first
    assert "status=400" in second
    assert "status=400" in third
