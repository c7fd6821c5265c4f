"""Run by the clients' own interpreters: `clients.py NAME URL [ARGUMENT]` prints index -> score as JSON.

Each function uses its client as its documentation says, with the server's base URL.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys

QUERY = "reset the router"
DOCS = ["The office opens at nine.", "Hold the recessed pin of the router for ten seconds.", "Routers forward packets."]
KEY = "key-1"


def of(results):
    rows = [row if isinstance(row, dict) else vars(row) for row in results]
    return {row["index"]: row["relevance_score"] for row in rows}


def cohere_v2(url):
    import cohere

    client = cohere.ClientV2(KEY, base_url=url)
    reply = client.rerank(model="rerank-v3.5", query=QUERY, documents=DOCS, max_tokens_per_doc=None)
    assert reply.id
    assert reply.meta.api_version.version == "2"
    assert reply.meta.billed_units.search_units == 1
    (best,) = client.rerank(model="rerank-v3.5", query=QUERY, documents=DOCS, top_n=1).results
    assert best.index == reply.results[0].index == 1
    return of(reply.results)


def cohere_v1(url):
    import cohere

    documents = [{"text": text, "n": "1"} for text in DOCS]
    client = cohere.Client(KEY, base_url=url + "/v1")
    reply = client.rerank(query=QUERY, documents=documents, return_documents=True, rank_fields=["text"])
    assert all(result.document.text == DOCS[result.index] for result in reply.results)
    assert all(result.document.n == "1" for result in reply.results)
    assert reply.meta.api_version.version == "1"
    plain = client.rerank(model="m", query=QUERY, documents=DOCS, max_chunks_per_doc=2, return_documents=False)
    assert all(result.document is None for result in plain.results)
    return of(plain.results)


def cohere_async(url):
    import cohere

    async def ask():
        v2, v1 = cohere.AsyncClientV2(KEY, base_url=url), cohere.AsyncClient(KEY, base_url=url)
        asked = [v2.rerank(model="m", query=QUERY, documents=DOCS) for _ in range(3)]
        return await asyncio.gather(*asked, *(v1.rerank(query=QUERY, documents=DOCS) for _ in range(3)))

    first, *others = [of(reply.results) for reply in asyncio.run(ask())]
    assert all(other == first for other in others)
    return first


def cohere_raises(url, argument):
    """The class of error that a request must end in, by each of the four clients, without retries."""
    import cohere

    wanted, key, fields = json.loads(argument)
    error = getattr(cohere, wanted, None) or getattr(__import__("cohere.errors").errors, wanted)
    fields |= {"request_options": {"max_retries": 0}}
    for kind in (cohere.ClientV2, cohere.Client):
        try:
            kind(key, base_url=url).rerank(**fields)
        except error as raised:
            if raised.body["message"]:
                continue
        raise AssertionError(kind)
    for kind in (cohere.AsyncClientV2, cohere.AsyncClient):
        try:
            asyncio.run(kind(key, base_url=url).rerank(**fields))
        except error:
            continue
        raise AssertionError(kind)
    return {}


def cohere_retries(url):
    """Of a server that is busy at first: 429 without retries, an answer with the SDK's own two."""
    import cohere

    client = cohere.ClientV2(KEY, base_url=url)
    try:
        client.rerank(model="m", query=QUERY, documents=DOCS, request_options={"max_retries": 0})
    except cohere.TooManyRequestsError as error:
        if int(error.headers["retry-after"]) >= 1:
            return of(client.rerank(model="m", query=QUERY, documents=DOCS).results)
    raise AssertionError("the server was to be busy")


def cohere_async_retries(url):
    import cohere

    async def ask(retries):
        client = cohere.AsyncClient(KEY, base_url=url)
        return await client.rerank(query=QUERY, documents=DOCS, request_options={"max_retries": retries})

    try:
        asyncio.run(ask(0))
    except cohere.TooManyRequestsError:
        return of(asyncio.run(ask(2)).results)
    raise AssertionError("the server was to be busy")


def langchain(url):
    import cohere
    from langchain_cohere import CohereRerank
    from langchain_core.documents import Document

    reranker = CohereRerank(client=cohere.ClientV2(KEY, base_url=url), model="m", top_n=3)
    found = reranker.rerank(DOCS, QUERY)
    compressed = reranker.compress_documents([Document(page_content=text) for text in DOCS], QUERY)
    assert [DOCS[row["index"]] for row in found] == [document.page_content for document in compressed]
    by_address = CohereRerank(cohere_api_key=KEY, base_url=url, model="m", top_n=3)
    assert by_address.rerank(DOCS, QUERY, top_n=None) == found
    return of(found)


def llama_index(url):
    from llama_index.core.schema import NodeWithScore, TextNode
    from llama_index.postprocessor.cohere_rerank import CohereRerank

    nodes = [NodeWithScore(node=TextNode(text=text)) for text in DOCS]
    found = CohereRerank(api_key=KEY, base_url=url, model="m", top_n=3).postprocess_nodes(nodes, query_str=QUERY)
    return {DOCS.index(node.node.get_content()): node.score for node in found}


def _litellm(model, base):
    import litellm

    litellm.telemetry = False
    reply = litellm.rerank(model=model, query=QUERY, documents=DOCS, top_n=3, api_base=base, api_key=KEY)
    return of(reply.results)


def litellm_cohere(url):
    found = _litellm("cohere/rerank-v3.5", url)
    assert _litellm("cohere/rerank-v3.5", url + "/v1/rerank") == found
    return found


def litellm_jina(url):
    return _litellm("jina_ai/jina-reranker-v2-base-multilingual", url)


def litellm_vllm(url):
    return _litellm("hosted_vllm/some-model", url)


def litellm_voyage(url):
    return _litellm("voyage/rerank-2.5", url)


def litellm_nvidia(url):
    """Logits."""
    return {index: 1 / (1 + math.exp(-logit)) for index, logit in _litellm("nvidia_nim/nvidia/any", url).items()}


def litellm_infinity(url):
    """By default it asks for documents, which must be strings: the path says so."""
    return _litellm("infinity/any", url + "/infinity")


def litellm_huggingface(url):
    return _litellm("huggingface/BAAI/bge-reranker-base", url)


if __name__ == "__main__":
    found = globals()[sys.argv[1]](*sys.argv[2:])
    print("RESULT " + json.dumps({str(index): score for index, score in found.items()}))
