"""The HTTP server: one loaded model for the clients of Cohere, Jina and TEI.

Only this folder imports starlette, uvicorn and prometheus_client.

    run ──> app (routes, time-outs, log) ──> admission (keys, body, room) ──> rerank_request (JSON to a request)
    ──> worker (one thread that owns the scorer) ──> response (scores to a ranking) ──> adapters (as each API wants it)
"""
