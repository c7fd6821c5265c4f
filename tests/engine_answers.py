"""Answers of search engines, vector databases and rerank APIs, as their documentation shows them.

Each holds two documents, "1 cat" before "2 dog" (a free scorer puts the dog first), with the ids `c` and `d` where the
engine has ids.
"""

from __future__ import annotations

from typing import Any, NamedTuple

CAT, DOG = "1 cat", "2 dog"


class Answer(NamedTuple):
    """An answer, the options that it needs, the option that its note offers, and what is special about it."""

    value: Any
    options: tuple[str, ...] = ()
    prior: str | None = None  # the field that finds the engine's own score
    ids: bool = True


def both(cat: Any, dog: Any = None, **more: Any) -> list[Any]:
    """Two records: `$text` and `$id` stand for theirs, `$score` for a score that falls."""
    return [filled(cat, CAT, "c", 0.9), filled(cat if dog is None else dog, DOG, "d", 0.4)]


def filled(value: Any, text: str, name: str, score: float) -> Any:
    if isinstance(value, dict):
        return {key: filled(item, text, name, score) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, text, name, score) for item in value]
    return (
        {"$text": text, "$id": name, "$score": score, "$distance": 1 - score}.get(value, value)
        if isinstance(value, str)
        else value
    )


ES = {"_index": "i", "_id": "$id", "_score": "$score", "_source": {"title": "x", "text": "$text"}}
QDRANT = {"id": "$id", "version": 3, "score": "$score", "payload": {"text": "$text", "city": "x"}, "vector": None}
TYPESENSE = {"document": {"id": "$id", "text": "$text"}, "highlight": {}, "highlights": [], "text_match": 130816}
NODE = {"id_": "$id", "embedding": None, "metadata": {}, "text": "$text", "class_name": "TextNode"}
ISSUE = {"id": "$id", "title": "a title", "bodyText": "$text"}
RESULT = {"index": 0, "relevance_score": "$score", "document": {"text": "$text"}}

ANSWERS = {
    "elasticsearch": Answer(
        {"took": 5, "timed_out": False, "_shards": {"total": 1}, "hits": {"total": {"value": 2}, "hits": both(ES)}}, prior="_score"
    ),
    "opensearch list of hits": Answer(both(ES), prior="_score"),
    "elasticsearch fields": Answer(
        {"took": 1, "hits": {"hits": both({"_index": "i", "_id": "$id", "_score": "$score", "fields": {"text": ["$text"]}})}}, prior="_score"
    ),
    "elasticsearch msearch of one": Answer({"took": 3, "responses": [{"hits": {"hits": both(ES)}, "status": 200}]}, prior="_score"),
    "elasticsearch async": Answer({"id": "x", "is_running": False, "response": {"took": 5, "hits": {"hits": both(ES)}}}, prior="_score"),
    "solr grouped": Answer(
        {"grouped": {"shop": {"matches": 2, "groups": [{"groupValue": n, "doclist": {"docs": [one]}} for n, one in enumerate(both({"id": "$id", "text": "$text"}))]}}}
    ),
    "solr": Answer(
        {"responseHeader": {"status": 0}, "response": {"numFound": 2, "start": 0, "docs": both({"id": "$id", "text": ["$text"], "score": "$score"})}},
        prior="score",
    ),
    "qdrant search": Answer({"result": both(QDRANT), "status": "ok", "time": 0.001}, prior="score"),
    "qdrant query": Answer({"result": {"points": both(QDRANT)}, "status": "ok", "time": 0.001}, prior="score"),
    "qdrant groups": Answer(
        {"result": {"groups": [{"id": n, "hits": [one]} for n, one in enumerate(both(QDRANT))]}, "status": "ok", "time": 0}, prior="score"
    ),
    "qdrant batch of one": Answer({"result": [both(QDRANT)], "status": "ok", "time": 0.001}, prior="score"),
    "qdrant query batch of one": Answer({"result": [{"points": both(QDRANT)}], "status": "ok", "time": 0.001}, prior="score"),
    "qdrant scroll": Answer(
        {"result": {"points": both({"id": "$id", "payload": {"text": "$text"}}), "next_page_offset": None}, "status": "ok"}
    ),
    "qdrant through langchain": Answer(
        {"result": both({"id": "$id", "score": "$score", "payload": {"page_content": "$text", "metadata": {}}}), "status": "ok", "time": 0}, prior="score"
    ),
    "weaviate graphql": Answer(
        {"data": {"Get": {"Article": both({"text": "$text", "_additional": {"id": "$id", "score": "0.5", "distance": None}})}}}, prior="_additional.score"
    ),
    "weaviate graphql distance": Answer(
        {"data": {"Get": {"Article": both({"text": "$text", "_additional": {"id": "$id", "distance": "$distance"}})}}}, prior="score"
    ),
    "weaviate rest": Answer({"objects": both({"class": "Article", "id": "$id", "properties": {"text": "$text"}}), "totalResults": 2}),
    "milvus rest": Answer({"code": 0, "cost": 0, "data": both({"id": "$id", "distance": "$score", "text": "$text"})}, prior="distance"),
    "milvus entity": Answer(
        {"code": 0, "data": both({"id": "$id", "distance": "$score", "entity": {"text": "$text"}})}, prior="distance"
    ),
    "pymilvus": Answer([both({"id": "$id", "distance": "$score", "entity": {"text": "$text"}})], prior="distance"),
    "chroma query": Answer(
        {"ids": [["c", "d"]], "embeddings": None, "documents": [[CAT, DOG]], "uris": None, "metadatas": [[{"k": 1}, None]],
         "distances": [[0.1, 0.6]], "include": ["documents"]}, prior="score",
    ),
    "chroma get": Answer({"ids": ["c", "d"], "embeddings": None, "documents": [CAT, DOG], "metadatas": [{}, {}]}),
    "pinecone": Answer(
        {"matches": both({"id": "$id", "score": "$score", "values": [], "metadata": {"text": "$text"}}), "namespace": "n"}, prior="score"
    ),
    "pinecone integrated": Answer(
        {"result": {"hits": both({"_id": "$id", "_score": "$score", "fields": {"chunk_text": "$text"}})}, "usage": {"read_units": 1}}, prior="_score"
    ),
    "typesense": Answer({"facet_counts": [], "found": 2, "out_of": 9, "page": 1, "hits": both(TYPESENSE)}, prior="text_match"),
    "typesense grouped": Answer(
        {"found": 2, "grouped_hits": [{"group_key": [n], "hits": [one]} for n, one in enumerate(both(TYPESENSE))]}, prior="text_match"
    ),
    "typesense multi search of one": Answer({"results": [{"found": 2, "hits": both(TYPESENSE)}]}, prior="text_match"),
    "meilisearch": Answer(
        {"hits": both({"id": "$id", "text": "$text", "_rankingScore": "$score"}), "query": "pets", "processingTimeMs": 1, "limit": 20}, prior="_rankingScore"
    ),
    "algolia": Answer({"hits": both({"objectID": "$id", "text": "$text", "_highlightResult": {}}), "nbHits": 2, "query": "pets"}),
    "vespa": Answer(
        {"root": {"id": "toplevel", "relevance": 1.0, "fields": {"totalCount": 2},
                  "children": both({"id": "$id", "relevance": "$score", "source": "s", "fields": {"text": "$text"}})}}, prior="relevance",
    ),
    "azure ai search client": Answer({"value": both({"@search.score": "$score", "id": "$id", "content": "$text"})}, prior="@search.score"),
    "azure ai search": Answer(
        {"@odata.context": "https://x", "value": both({"@search.score": "$score", "id": "$id", "content": "$text"})}, prior="@search.score"
    ),
    "graphql edges": Answer(
        {"data": {"repository": {"issues": {"edges": both({"node": ISSUE, "cursor": "x"})}}}}, ("--text-field", "bodyText")
    ),
    "graphql nodes": Answer({"data": {"repository": {"issues": {"totalCount": 2, "nodes": both(ISSUE)}}}}, ("--text-field", "bodyText")),
    "github": Answer(
        {"total_count": 2, "incomplete_results": False, "items": both({"id": "$id", "title": "$text", "body": "b", "score": 1.0})}, prior="score"
    ),
    "stack exchange": Answer(
        {"items": both({"question_id": "$id", "title": "$text", "score": 3, "tags": ["x"]}), "has_more": False, "quota_remaining": 9}
    ),
    "langchain documents": Answer(both({"page_content": "$text", "metadata": {"source": "x"}}), ids=False),
    "langchain with scores": Answer([[one, 0.5] for one in both({"page_content": "$text", "metadata": {}})], ids=False),
    "langchain dumpd": Answer(
        both({"lc": 1, "type": "constructor", "id": ["langchain", "Document"], "kwargs": {"page_content": "$text", "metadata": {}}}), ids=False
    ),
    "langchain retrieval chain": Answer({"input": "pets", "context": both({"page_content": "$text", "metadata": {}}), "answer": "x"}, ids=False),
    "llamaindex nodes": Answer(both({"node": NODE, "score": "$score", "class_name": "NodeWithScore"}), prior="score"),
    "llamaindex response": Answer({"response": "x", "source_nodes": both({"node": NODE, "score": "$score"}), "metadata": {}}, prior="score"),
    "cohere": Answer({"id": "07", "results": both(RESULT), "meta": {"api_version": {"version": "2"}}}, prior="relevance_score", ids=False),
    "jina": Answer({"model": "m", "usage": {}, "results": both({**RESULT, "document": "$text"})}, prior="relevance_score", ids=False),
    "voyage": Answer({"object": "list", "data": both({**RESULT, "document": "$text"}), "model": "rerank-2"}, prior="relevance_score", ids=False),
    "mixedbread": Answer({"object": "list", "data": both({"index": 0, "score": "$score", "input": "$text"})}, prior="score", ids=False),
    "pinecone rerank": Answer(
        {"model": "bge", "data": both({"index": 0, "score": "$score", "document": {"id": "$id", "text": "$text"}})}, prior="score"
    ),
    "bedrock rerank": Answer(
        {"results": both({"index": 0, "relevanceScore": "$score", "document": {"type": "TEXT", "textDocument": {"text": "$text"}}})},
        prior="relevanceScore", ids=False,
    ),
    "dashscope": Answer({"output": {"results": both(RESULT)}, "usage": {}, "request_id": "r"}, prior="relevance_score", ids=False),
    "our json": Answer(
        {"results": both({"index": 0, "rank": 1, "relevance_score": "$score", "document": {"id": "$id", "text": "$text"}}), "meta": {}},
        prior="relevance_score",
    ),
    "our json of lines": Answer({"results": both({**RESULT, "document": "$text"}), "meta": {}}, prior="relevance_score", ids=False),
    "tavily": Answer({"query": "pets", "results": both({"url": "u", "title": "$text", "content": "x", "score": "$score"})}, prior="score", ids=False),
    "openai vector store": Answer(
        {"object": "page", "search_query": ["pets"], "data": both({"file_id": "$id", "score": "$score", "content": [{"type": "text", "text": "$text"}]})},
        prior="score",
    ),
    "hacker news": Answer({"hits": both({"objectID": "$id", "title": "$text", "created_at_i": 1}), "nbHits": 2, "processingTimeMS": 1}),
}  # fmt: skip
