"""Like `clients`, for the packages of other providers than Cohere: `provider_clients.py NAME URL`."""

from __future__ import annotations

import asyncio
import json
import math
import os
import sys

from clients import DOCS, KEY, QUERY


def sigmoid(logit):
    return 1 / (1 + math.exp(-logit))


def of_texts(pairs):
    return {DOCS.index(text): score for text, score in pairs}


def nodes():
    from llama_index.core.schema import NodeWithScore, TextNode

    return [NodeWithScore(node=TextNode(text=text)) for text in DOCS]


def of_nodes(reranker):
    found = reranker.postprocess_nodes(nodes(), query_str=QUERY)
    return of_texts((node.node.get_content(), node.score) for node in found)


def documents():
    from langchain_core.documents import Document

    return [Document(page_content=text) for text in DOCS]


def voyage(url):
    import voyageai

    client = voyageai.Client(api_key=KEY, base_url=url + "/v1")
    best = client.rerank(QUERY, DOCS, model="rerank-2.5", top_k=1)
    assert [row.document for row in best.results] == [DOCS[1]]
    assert best.total_tokens > 0

    async def ask():
        return await voyageai.AsyncClient(api_key=KEY, base_url=url + "/v1").rerank(QUERY, DOCS, model="rerank-2.5")

    found = {row.index: row.relevance_score for row in asyncio.run(ask()).results}
    assert found == {row.index: row.relevance_score for row in client.rerank(QUERY, DOCS, model="rerank-2.5").results}
    try:
        client.rerank(" ", DOCS, model="rerank-2.5")
    except voyageai.error.InvalidRequestError as error:
        assert "query must not be empty" in str(error)  # noqa: PT017
    else:
        raise AssertionError("a blank query was taken")
    return found


def langchain_voyage(url):
    from langchain_voyageai import VoyageAIRerank

    reranker = VoyageAIRerank(api_key=KEY, base_url=url + "/v1", model="rerank-2.5", top_k=3)
    found = reranker.compress_documents(documents(), QUERY)
    return of_texts((document.page_content, document.metadata["relevance_score"]) for document in found)


def langchain_nvidia(url):
    from langchain_nvidia_ai_endpoints import NVIDIARerank

    reranker = NVIDIARerank(base_url=url + "/v1", api_key=KEY, truncate="END")
    found = reranker.compress_documents(documents(), QUERY)
    return of_texts((doc.page_content, sigmoid(doc.metadata["relevance_score"])) for doc in found)


def llama_index_nvidia(url):
    from llama_index.postprocessor.nvidia_rerank import NVIDIARerank

    found = of_nodes(NVIDIARerank(base_url=url + "/v1", api_key=KEY, top_n=3))
    return {index: sigmoid(logit) for index, logit in found.items()}


def haystack_nvidia(url):
    from haystack import Document
    from haystack.utils import Secret
    from haystack_integrations.components.rankers.nvidia import NvidiaRanker

    ranker = NvidiaRanker(model="m", api_url=url + "/v1", api_key=Secret.from_token(KEY), top_k=3)
    found = ranker.run(QUERY, [Document(content=text) for text in DOCS])["documents"]
    return of_texts((document.content, sigmoid(document.score)) for document in found)


def haystack_tei(url):
    from haystack import Document
    from haystack.utils import Secret
    from haystack_integrations.components.rankers.huggingface_api import HuggingFaceTEIRanker

    ranker = HuggingFaceTEIRanker(url=url, token=Secret.from_token(KEY))
    found = ranker.run(query=QUERY, documents=[Document(content=text) for text in DOCS])["documents"]
    return of_texts((document.content, document.score) for document in found)


def mixedbread(url):
    from mixedbread import BadRequestError, Mixedbread

    client = Mixedbread(api_key=KEY, base_url=url)
    found = client.rerank(query=QUERY, input=DOCS, model="m", top_k=3, return_input=True)
    assert [row.input for row in found.data] == [DOCS[row.index] for row in found.data]
    assert (found.top_k, found.return_input) == (3, True)
    try:
        client.rerank(query=" ", input=DOCS)
    except BadRequestError as error:
        assert "query must not be empty" in str(error)  # noqa: PT017
    return {row.index: row.score for row in found.data}


def llama_index_mixedbread(url):
    os.environ["MIXEDBREAD_BASE_URL"] = url
    from llama_index.postprocessor.mixedbreadai_rerank import MixedbreadAIRerank

    return of_nodes(MixedbreadAIRerank(api_key=KEY, top_n=3))


def dashscope(url):
    os.environ["DASHSCOPE_HTTP_BASE_URL"] = url + "/api/v1"
    import dashscope

    found = dashscope.TextReRank.call(
        model="gte-rerank-v2", query=QUERY, documents=DOCS, api_key=KEY, return_documents=True
    )
    assert found.status_code == 200, found
    # Not `row.document`: the SDK's class has None for it, whatever comes.
    assert all(row["document"]["text"] == DOCS[row.index] for row in found.output.results)
    wrong = dashscope.TextReRank.call(model="gte-rerank-v2", query=" ", documents=DOCS, api_key=KEY)
    assert (wrong.status_code, wrong.code) == (400, "InvalidParameter")
    return {row.index: row.relevance_score for row in found.output.results}


def llama_index_dashscope(url):
    os.environ["DASHSCOPE_HTTP_BASE_URL"] = url + "/api/v1"
    from llama_index.postprocessor.dashscope_rerank import DashScopeRerank

    return of_nodes(DashScopeRerank(api_key=KEY, top_n=3))


def llama_index_siliconflow(url):
    from llama_index.postprocessor.siliconflow_rerank import SiliconFlowRerank

    return of_nodes(SiliconFlowRerank(base_url=url + "/v1/rerank", api_key=KEY, top_n=3))


def llama_index_jina(url):
    from llama_index.postprocessor.jinaai_rerank import JinaRerank

    return of_nodes(JinaRerank(base_url=url + "/v1", api_key=KEY, top_n=3))


def llama_index_tei(url):
    from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

    return of_nodes(TextEmbeddingInference(base_url=url, auth_token=f"Bearer {KEY}"))


def llama_index_xinference(url):
    """It sends no key."""
    from llama_index.postprocessor.xinference_rerank import XinferenceRerank

    return of_nodes(XinferenceRerank(base_url=url, top_n=3))


def xinference(url):
    from xinference_client import RESTfulClient

    model = RESTfulClient(url, api_key=KEY).get_model("bge-reranker-base")
    found = model.rerank(DOCS, QUERY, return_documents=True)
    assert [row["document"]["text"] for row in found["results"]] == [DOCS[row["index"]] for row in found["results"]]
    return {row["index"]: row["relevance_score"] for row in found["results"]}


def langchain_xinference(url):
    from langchain_xinference.reranks import XinferenceRerank

    reranker = XinferenceRerank(server_url=url, model_uid="bge-reranker-base", api_key=KEY)
    found = reranker.compress_documents(documents(), QUERY)
    return of_texts((document.page_content, document.metadata["relevance_score"]) for document in found)


def infinity(url):
    from infinity_client import Client
    from infinity_client.api.default import rerank
    from infinity_client.models import RerankInput

    client = Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"})
    found = rerank.sync(client=client, body=RerankInput(query=QUERY, documents=DOCS, model="m"))
    return {row.index: row.relevance_score for row in found.results}


def langchain_infinity(url):
    from infinity_client import Client
    from langchain_community.document_compressors.infinity_rerank import InfinityRerank

    client = Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"})
    found = InfinityRerank(client=client, model="m", top_n=3).compress_documents(documents(), QUERY)
    return of_texts((document.page_content, document.metadata["relevance_score"]) for document in found)


def pinecone(url):
    from pinecone import Pinecone

    found = Pinecone(api_key=KEY, host=url).inference.rerank(model="bge-reranker-v2-m3", query=QUERY, documents=DOCS)
    assert [row.document["text"] for row in found.data] == [DOCS[row.index] for row in found.data]
    return {row.index: row.score for row in found.data}


if __name__ == "__main__":
    found = globals()[sys.argv[1]](*sys.argv[2:])
    print("RESULT " + json.dumps({str(index): score for index, score in found.items()}))
