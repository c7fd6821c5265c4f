// Clients of `rerank serve` for Node.js: `node clients.mjs NAME URL` prints pairs of index and score.
import assert from "node:assert";

const QUERY = "reset the router";
const DOCS = [
  "The office opens at nine.",
  "Hold the recessed pin of the router for ten seconds.",
  "Routers forward packets.",
];
const KEY = "key-1";

const of = (rows, score = "relevanceScore") => rows.map((row) => [row.index, row[score]]);

async function aiSdk(model) {
  const { rerank } = await import("ai");
  const all = await rerank({ model, query: QUERY, documents: DOCS });
  const best = await rerank({ model, query: QUERY, documents: DOCS, topN: 1 });
  assert.deepEqual(best.ranking.map((row) => row.originalIndex), [1]);
  return all.ranking.map((row) => [row.originalIndex, row.score]);
}

const CLIENTS = {
  async cohere(url) {
    const { CohereClient, CohereClientV2, CohereError } = await import("cohere-ai");
    const v2 = new CohereClientV2({ token: KEY, environment: url });
    const found = await v2.rerank({ model: "rerank-v3.5", query: QUERY, documents: DOCS });
    const v1 = new CohereClient({ token: KEY, environment: url });
    const other = await v1.rerank({ query: QUERY, documents: DOCS, returnDocuments: true });
    assert.deepEqual(of(found.results), of(other.results));
    assert.equal(other.results[0].document.text, DOCS[1]);
    assert.equal(found.meta.billedUnits.searchUnits, 1);
    const refused = v2.rerank({ model: "m", query: " ", documents: DOCS }, { maxRetries: 0 });
    await assert.rejects(refused, (error) => error instanceof CohereError && error.statusCode === 400);
    return of(found.results);
  },
  async voyage(url) {
    const { VoyageAIClient } = await import("voyageai");
    const client = new VoyageAIClient({ apiKey: KEY, environment: `${url}/v1` });
    const best = await client.rerank({ query: QUERY, documents: DOCS, model: "rerank-2.5", topK: 1 });
    assert.deepEqual(best.data.map((row) => row.index), [1]);
    const found = await client.rerank({ query: QUERY, documents: DOCS, model: "rerank-2.5" });
    assert.ok(found.usage.totalTokens > 0);
    return of(found.data);
  },
  async ai_sdk_cohere(url) {
    const { createCohere } = await import("@ai-sdk/cohere");
    return aiSdk(createCohere({ apiKey: KEY, baseURL: `${url}/v2` }).reranking("rerank-v3.5"));
  },
  async ai_sdk_voyage(url) {
    const { createVoyage } = await import("voyage-ai-provider");
    return aiSdk(createVoyage({ apiKey: KEY, baseURL: `${url}/v1` }).reranking("rerank-2.5"));
  },
  async mixedbread(url) {
    const { Mixedbread } = await import("@mixedbread/sdk");
    const client = new Mixedbread({ apiKey: KEY, baseURL: url });
    const found = await client.rerank({ model: "m", query: QUERY, input: DOCS, top_k: 3 });
    return of(found.data, "score");
  },
  async pinecone(url) {
    const { Pinecone } = await import("@pinecone-database/pinecone");
    const client = new Pinecone({ apiKey: KEY, controllerHostUrl: url });
    const found = await client.inference.rerank({ model: "m", query: QUERY, documents: DOCS });
    assert.ok(found.data.every((row) => row.document.text === DOCS[row.index]));
    return of(found.data, "score");
  },
};

const [name, url] = process.argv.slice(2);
console.log(`RESULT ${JSON.stringify(await CLIENTS[name](url))}`);
