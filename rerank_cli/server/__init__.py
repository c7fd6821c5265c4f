"""The HTTP server: local models, and remote ones behind a cache, for the clients of Cohere, Jina, TEI and others.

Only this folder imports starlette, uvicorn and prometheus_client.

    run ──> app (routes, time-outs, log) ──> admission (keys, body, room) ──> rerank_request (members to a request)
    ──> models (which one) ──> worker (a thread that owns a scorer; turn: one at a time) or remote_worker (a gateway)
    ──> response (scores to a ranking) or provider_errors ──> adapters (as each API wants it)

`reload` exchanges settings and models while it runs.
"""
