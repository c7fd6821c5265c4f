"""Run by the clients' own interpreter (tests/requirements-clients.txt): `clients.py NAME URL` prints index -> score as JSON.

Each function uses its client as its documentation says, with the server's base URL.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

QUERY = "reset the router"
DOCS = ["The office opens at nine.", "Hold the recessed pin of the router for ten seconds.", "Routers forward packets."]
KEY = "key-1"


def of(results):
    return {
        row["index"] if isinstance(row, dict) else row.index: row["relevance_score"]
        if isinstance(row, dict)
        else row.relevance_score
        for row in results
    }


def cohere_v2(url):
    import cohere

    return of(
        cohere.ClientV2(KEY, base_url=url)
        .rerank(model="m", query=QUERY, documents=DOCS, max_tokens_per_doc=None)
        .results
    )


def cohere_v1(url):
    import cohere

    documents = [{"text": text, "n": "1"} for text in DOCS]
    reply = cohere.Client(KEY, base_url=url + "/v1").rerank(query=QUERY, documents=documents, return_documents=True)
    assert all(result.document.text == DOCS[result.index] for result in reply.results)
    return of(reply.results)


def cohere_async(url):
    import cohere

    async def ask():
        return await cohere.AsyncClientV2(KEY, base_url=url).rerank(model="m", query=QUERY, documents=DOCS)

    return of(asyncio.run(ask()).results)


def cohere_errors(url):
    import cohere

    for key, query, error in (("bad", "q", cohere.UnauthorizedError), (KEY, " ", cohere.BadRequestError)):
        try:
            cohere.ClientV2(key, base_url=url).rerank(model="m", query=query, documents=DOCS)
        except error:
            continue
        raise AssertionError(error)
    return cohere_v2(url)


def langchain(url):
    import cohere
    from langchain_cohere import CohereRerank
    from langchain_core.documents import Document

    reranker = CohereRerank(client=cohere.ClientV2(KEY, base_url=url), model="m", top_n=3)
    found = reranker.rerank(DOCS, QUERY)
    compressed = reranker.compress_documents([Document(page_content=text) for text in DOCS], QUERY)
    assert [DOCS[row["index"]] for row in found] == [document.page_content for document in compressed]
    return of(found)


def llama_index(url):
    from llama_index.core.schema import NodeWithScore, TextNode
    from llama_index.postprocessor.cohere_rerank import CohereRerank

    os.environ["CO_API_URL"] = url
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in DOCS]
    found = CohereRerank(api_key=KEY, model="m", top_n=3).postprocess_nodes(nodes, query_str=QUERY)
    return {DOCS.index(node.node.get_content()): node.score for node in found}


def _litellm(url, model, base=None):
    import litellm

    litellm.telemetry = False
    reply = litellm.rerank(model=model, query=QUERY, documents=DOCS, top_n=3, api_base=base or url, api_key=KEY)
    return of(reply.results)


def litellm_cohere(url):
    return _litellm(url, "cohere/rerank-v3.5")


def litellm_jina(url):
    return _litellm(url, "jina_ai/jina-reranker-v2-base-multilingual")


def litellm_vllm(url):
    return _litellm(url, "hosted_vllm/some-model")


def litellm_huggingface(url):
    return _litellm(url, "huggingface/BAAI/bge-reranker-base")


if __name__ == "__main__":
    found = globals()[sys.argv[1]](sys.argv[2])
    print("RESULT " + json.dumps({str(index): score for index, score in found.items()}))
