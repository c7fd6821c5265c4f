"""The HTTP front: one loaded model for the clients of Cohere, Jina and TEI.

Only this folder imports starlette, uvicorn and prometheus_client.

    run ──> app (routes, time-outs, log) ──> gate (keys, body, room) ──> ask (JSON to a request) ──> worker (one thread
    that owns the scorer) ──> answer (scores to JSON)
"""
