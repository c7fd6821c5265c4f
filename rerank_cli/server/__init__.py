"""The HTTP server: one loaded model for the clients of Cohere, Jina, TEI and other rerank APIs.

Only this folder imports starlette, uvicorn and prometheus_client.

    run ──> app (routes, time-outs, log) ──> admission (keys, body, room) ──> rerank_request (members to a request)
    ──> worker (one thread that owns the scorer) ──> response (scores to a ranking) ──> adapters (as each API wants it)
"""
