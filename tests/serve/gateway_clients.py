"""Run by an interpreter with the cohere SDK: `gateway_clients.py NAME URL [ARGUMENT]` prints what it saw as JSON."""

from __future__ import annotations

import json
import sys

FIELDS = {"model": "rerank-v3.5", "query": "reset the router", "documents": ["Open at nine.", "Reset the router."]}
KEY = "client-key"


def ranks(url):
    """Two identical requests: the scores, and what each was billed."""
    import cohere

    client = cohere.ClientV2(KEY, base_url=url)
    replies = [client.rerank(**FIELDS) for _ in range(2)]
    return {
        "scores": {str(row.index): row.relevance_score for row in replies[0].results},
        "units": [reply.meta.billed_units.search_units for reply in replies],
    }


def fails(url, retries):
    """The class of the error, its status, message and Retry-After, with as many retries of the SDK."""
    import cohere
    from cohere.core.api_error import ApiError

    try:
        cohere.ClientV2(KEY, base_url=url).rerank(**FIELDS, request_options={"max_retries": int(retries)})
    except ApiError as error:
        headers = {name.lower(): value for name, value in (error.headers or {}).items()}
        return [type(error).__name__, error.status_code, error.body["message"], headers.get("retry-after")]
    return None


if __name__ == "__main__":
    print("RESULT " + json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
