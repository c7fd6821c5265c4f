# bash completion for rerank, as `rerank completion bash` prints it. Print it again after an upgrade.
#
# Put it where bash-completion looks: ~/.local/share/bash-completion/completions/rerank
# or load it: source rerank.bash

# What follows an option: `command option` -> words, FILES, FOLDERS or NOTHING; fails for one that takes no value.
_rerank_values() {
    case "$1 $2" in
        "rank -q" | "rank --query" | "rank --delimiter" | "rank --encoding" | "rank --max-line" | "rank --max-unpacked" | "rank --rank-fields" | "rank --text-field" | "rank --id-field" | "rank --records" | "rank -n" | "rank --top-n" | "rank --min-score" | "rank --prior-field" | "rank --weight" | "rank --prefilter" | "rank --recency" | "rank --half-life" | "rank --boost" | "rank --boost-field" | "rank --boost-limit" | "rank --dedupe" | "rank --cutoff" | "rank --group-by" | "rank --group-size" | "rank --diversity" | "rank --max-context-tokens" | "rank --highlight" | "rank --max-tokens-per-doc" | "rank --max-chunks-per-doc" | "rank --expect" | "rank --result-key" | "rank --query-id" | "rank --run-tag" | "rank --device" | "rank --threads" | "rank --instruction" | "rank --endpoint" | "rank --api-key-env" | "rank --auth-header" | "rank --client-name" | "rank --header" | "rank --extra" | "rank --batch-docs" | "rank --concurrency" | "rank --timeout" | "rank --retries" | "rank --max-wait" | "rank --requests-per-minute" | "rank --tokens-per-minute" | "rank --max-units" | "rank --max-cost" | "rank --window-size" | "rank --window-step" | "rank --passes") echo 'NOTHING' ;;
        "rank --query-file" | "rank --tokenizer" | "rank --qrels" | "rank -o" | "rank --output" | "rank --template" | "rank --api-key-file" | "rank --ca-bundle" | "rank --cache-path" | "rank --config") echo 'FILES' ;;
        "rank --input-format") echo 'auto jsonl json yaml lines csv tsv files' ;;
        "rank --field-format") echo 'yaml text' ;;
        "rank --on-missing") echo 'empty skip error' ;;
        "rank --fusion") echo 'rrf weighted' ;;
        "rank --join") echo 'max mean rrf' ;;
        "rank --long-documents") echo 'chunk truncate error' ;;
        "rank -f" | "rank --format") echo 'auto table json jsonl lines ids csv tsv trec markdown context' ;;
        "rank --color") echo 'auto always never' ;;
        "rank -m" | "rank --model" | "rank --fallback") echo 'builtin cohere-v2: cohere-v1: azure-serverless: azure-foundry: jina: voyage: mixedbread: together: siliconflow: pinecone: nvidia-hosted: nvidia-nim: tei: vllm: infinity: llamacpp: localai: xinference: litellm: new-api: elasticsearch: zeroentropy: dashscope: dashscope-compat: isaacus: contextual: fireworks: nebius: openrouter: vercel: deepinfra: bedrock: bedrock-invoke: vertex: cloudflare: baseten: openai-decisions: chat: azure: cohere: elastic: jinaai: llama-cpp: llama.cpp: mxbai: newapi: nim: nvidia: text-embeddings-inference: vercel-ai-gateway: vertex-ai: voyageai: workers-ai: cross-encoder/ms-marco-TinyBERT-L2-v2 cross-encoder/ms-marco-MiniLM-L2-v2 cross-encoder/ms-marco-MiniLM-L4-v2 cross-encoder/ms-marco-MiniLM-L6-v2 cross-encoder/ms-marco-MiniLM-L12-v2 cross-encoder/ms-marco-electra-base cross-encoder/mmarco-mMiniLMv2-L12-H384-v1 cross-encoder/ettin-reranker-17m-v1 cross-encoder/ettin-reranker-32m-v1 cross-encoder/ettin-reranker-68m-v1 cross-encoder/ettin-reranker-150m-v1 cross-encoder/ettin-reranker-400m-v1 cross-encoder/ettin-reranker-1b-v1 BAAI/bge-reranker-base BAAI/bge-reranker-large BAAI/bge-reranker-v2-m3 dragonkue/bge-reranker-v2-m3-ko BAAI/bge-reranker-v2-gemma mixedbread-ai/mxbai-rerank-xsmall-v1 mixedbread-ai/mxbai-rerank-base-v1 mixedbread-ai/mxbai-rerank-large-v1 mixedbread-ai/mxbai-rerank-base-v2 mixedbread-ai/mxbai-rerank-large-v2 Alibaba-NLP/gte-reranker-modernbert-base ibm-granite/granite-embedding-reranker-english-r2 maidalun1020/bce-reranker-base_v1 cl-nagoya/ruri-v3-reranker-310m amberoad/bert-multilingual-passage-reranking-msmarco sdadas/polish-reranker-base-ranknet Qwen/Qwen3-Reranker-0.6B Qwen/Qwen3-Reranker-4B Qwen/Qwen3-Reranker-8B tomaarsen/Qwen3-Reranker-0.6B-seq-cls Qwen/Qwen3-VL-Reranker-2B jinaai/jina-reranker-v2-base-multilingual zeroentropy/zerank-1-small zeroentropy/zerank-1 zeroentropy/zerank-2 castorini/monot5-base-msmarco unicamp-dl/mt5-base-mmarco-v2 colbert-ir/colbertv2.0 lightonai/GTE-ModernColBERT-v1 LiquidAI/LFM2-ColBERT-350M' ;;
        "rank --backend") echo 'auto onnx openvino torch' ;;
        "rank --dtype") echo 'auto fp32 bf16 fp16 int8' ;;
        "rank --as") echo 'auto embedding' ;;
        "rank --cache-mode") echo 'rw ro' ;;
        "batch --queries" | "batch --documents" | "batch --run" | "batch --corpus" | "batch --tokenizer" | "batch --qrels" | "batch -o" | "batch --output" | "batch --errors" | "batch --summary" | "batch --template" | "batch --api-key-file" | "batch --ca-bundle" | "batch --cache-path" | "batch --config") echo 'FILES' ;;
        "batch --query-format") echo 'auto tsv csv jsonl json yaml lines topics' ;;
        "batch --depth" | "batch --delimiter" | "batch --encoding" | "batch --max-line" | "batch --max-unpacked" | "batch --rank-fields" | "batch --text-field" | "batch --id-field" | "batch --records" | "batch -n" | "batch --top-n" | "batch --min-score" | "batch --prior-field" | "batch --weight" | "batch --recency" | "batch --half-life" | "batch --boost" | "batch --boost-field" | "batch --boost-limit" | "batch --dedupe" | "batch --cutoff" | "batch --group-by" | "batch --group-size" | "batch --diversity" | "batch --max-context-tokens" | "batch --highlight" | "batch --max-tokens-per-doc" | "batch --max-chunks-per-doc" | "batch --result-key" | "batch --run-tag" | "batch --shard" | "batch --ray-address" | "batch --workers" | "batch --gpus-per-worker" | "batch --device" | "batch --threads" | "batch --instruction" | "batch --endpoint" | "batch --api-key-env" | "batch --auth-header" | "batch --client-name" | "batch --header" | "batch --extra" | "batch --batch-docs" | "batch --concurrency" | "batch --timeout" | "batch --retries" | "batch --max-wait" | "batch --requests-per-minute" | "batch --tokens-per-minute" | "batch --max-units" | "batch --max-cost" | "batch --window-size" | "batch --window-step" | "batch --passes") echo 'NOTHING' ;;
        "batch --input-format") echo 'auto jsonl json yaml lines csv tsv files' ;;
        "batch --field-format") echo 'yaml text' ;;
        "batch --on-missing") echo 'empty skip error' ;;
        "batch --fusion") echo 'rrf weighted' ;;
        "batch --join") echo 'max mean rrf' ;;
        "batch --long-documents") echo 'chunk truncate error' ;;
        "batch -f" | "batch --format") echo 'responses rows trec' ;;
        "batch --out-dir") echo 'FOLDERS' ;;
        "batch --engine") echo 'local ray' ;;
        "batch -m" | "batch --model" | "batch --fallback") echo 'builtin cohere-v2: cohere-v1: azure-serverless: azure-foundry: jina: voyage: mixedbread: together: siliconflow: pinecone: nvidia-hosted: nvidia-nim: tei: vllm: infinity: llamacpp: localai: xinference: litellm: new-api: elasticsearch: zeroentropy: dashscope: dashscope-compat: isaacus: contextual: fireworks: nebius: openrouter: vercel: deepinfra: bedrock: bedrock-invoke: vertex: cloudflare: baseten: openai-decisions: chat: azure: cohere: elastic: jinaai: llama-cpp: llama.cpp: mxbai: newapi: nim: nvidia: text-embeddings-inference: vercel-ai-gateway: vertex-ai: voyageai: workers-ai: cross-encoder/ms-marco-TinyBERT-L2-v2 cross-encoder/ms-marco-MiniLM-L2-v2 cross-encoder/ms-marco-MiniLM-L4-v2 cross-encoder/ms-marco-MiniLM-L6-v2 cross-encoder/ms-marco-MiniLM-L12-v2 cross-encoder/ms-marco-electra-base cross-encoder/mmarco-mMiniLMv2-L12-H384-v1 cross-encoder/ettin-reranker-17m-v1 cross-encoder/ettin-reranker-32m-v1 cross-encoder/ettin-reranker-68m-v1 cross-encoder/ettin-reranker-150m-v1 cross-encoder/ettin-reranker-400m-v1 cross-encoder/ettin-reranker-1b-v1 BAAI/bge-reranker-base BAAI/bge-reranker-large BAAI/bge-reranker-v2-m3 dragonkue/bge-reranker-v2-m3-ko BAAI/bge-reranker-v2-gemma mixedbread-ai/mxbai-rerank-xsmall-v1 mixedbread-ai/mxbai-rerank-base-v1 mixedbread-ai/mxbai-rerank-large-v1 mixedbread-ai/mxbai-rerank-base-v2 mixedbread-ai/mxbai-rerank-large-v2 Alibaba-NLP/gte-reranker-modernbert-base ibm-granite/granite-embedding-reranker-english-r2 maidalun1020/bce-reranker-base_v1 cl-nagoya/ruri-v3-reranker-310m amberoad/bert-multilingual-passage-reranking-msmarco sdadas/polish-reranker-base-ranknet Qwen/Qwen3-Reranker-0.6B Qwen/Qwen3-Reranker-4B Qwen/Qwen3-Reranker-8B tomaarsen/Qwen3-Reranker-0.6B-seq-cls Qwen/Qwen3-VL-Reranker-2B jinaai/jina-reranker-v2-base-multilingual zeroentropy/zerank-1-small zeroentropy/zerank-1 zeroentropy/zerank-2 castorini/monot5-base-msmarco unicamp-dl/mt5-base-mmarco-v2 colbert-ir/colbertv2.0 lightonai/GTE-ModernColBERT-v1 LiquidAI/LFM2-ColBERT-350M' ;;
        "batch --backend") echo 'auto onnx openvino torch' ;;
        "batch --dtype") echo 'auto fp32 bf16 fp16 int8' ;;
        "batch --as") echo 'auto embedding' ;;
        "batch --cache-mode") echo 'rw ro' ;;
        "eval --qrels" | "eval --queries" | "eval --baseline" | "eval -o" | "eval --output" | "eval --config") echo 'FILES' ;;
        "eval --encoding" | "eval --max-line" | "eval --max-unpacked" | "eval --measure" | "eval --fail-under" | "eval --fail-on-drop" | "eval --worst" | "eval --resamples" | "eval --seed") echo 'NOTHING' ;;
        "eval -f" | "eval --format") echo 'auto table json csv markdown' ;;
        "compare --encoding" | "compare --max-line" | "compare --max-unpacked" | "compare --depth" | "compare --rbo-p" | "compare --limit") echo 'NOTHING' ;;
        "compare -f" | "compare --format") echo 'auto table json csv markdown' ;;
        "compare -o" | "compare --output" | "compare --config") echo 'FILES' ;;
        "serve --host" | "serve --port" | "serve --keys-env" | "serve --served-name" | "serve --max-body" | "serve --max-documents" | "serve --max-query" | "serve --max-document" | "serve --max-tokens" | "serve --max-queue" | "serve --request-timeout" | "serve --max-connections" | "serve --allowed-host" | "serve --cors-origin" | "serve --max-tokens-per-doc" | "serve --max-chunks-per-doc" | "serve --device" | "serve --threads" | "serve --instruction" | "serve --endpoint" | "serve --api-key-env" | "serve --auth-header" | "serve --client-name" | "serve --header" | "serve --extra" | "serve --batch-docs" | "serve --concurrency" | "serve --timeout" | "serve --retries" | "serve --max-wait" | "serve --requests-per-minute" | "serve --tokens-per-minute" | "serve --max-units" | "serve --max-cost" | "serve --window-size" | "serve --window-step" | "serve --passes") echo 'NOTHING' ;;
        "serve --keys-file" | "serve --template" | "serve --api-key-file" | "serve --ca-bundle" | "serve --cache-path" | "serve --config") echo 'FILES' ;;
        "serve --long-documents") echo 'chunk truncate error' ;;
        "serve -m" | "serve --model" | "serve --fallback") echo 'builtin cohere-v2: cohere-v1: azure-serverless: azure-foundry: jina: voyage: mixedbread: together: siliconflow: pinecone: nvidia-hosted: nvidia-nim: tei: vllm: infinity: llamacpp: localai: xinference: litellm: new-api: elasticsearch: zeroentropy: dashscope: dashscope-compat: isaacus: contextual: fireworks: nebius: openrouter: vercel: deepinfra: bedrock: bedrock-invoke: vertex: cloudflare: baseten: openai-decisions: chat: azure: cohere: elastic: jinaai: llama-cpp: llama.cpp: mxbai: newapi: nim: nvidia: text-embeddings-inference: vercel-ai-gateway: vertex-ai: voyageai: workers-ai: cross-encoder/ms-marco-TinyBERT-L2-v2 cross-encoder/ms-marco-MiniLM-L2-v2 cross-encoder/ms-marco-MiniLM-L4-v2 cross-encoder/ms-marco-MiniLM-L6-v2 cross-encoder/ms-marco-MiniLM-L12-v2 cross-encoder/ms-marco-electra-base cross-encoder/mmarco-mMiniLMv2-L12-H384-v1 cross-encoder/ettin-reranker-17m-v1 cross-encoder/ettin-reranker-32m-v1 cross-encoder/ettin-reranker-68m-v1 cross-encoder/ettin-reranker-150m-v1 cross-encoder/ettin-reranker-400m-v1 cross-encoder/ettin-reranker-1b-v1 BAAI/bge-reranker-base BAAI/bge-reranker-large BAAI/bge-reranker-v2-m3 dragonkue/bge-reranker-v2-m3-ko BAAI/bge-reranker-v2-gemma mixedbread-ai/mxbai-rerank-xsmall-v1 mixedbread-ai/mxbai-rerank-base-v1 mixedbread-ai/mxbai-rerank-large-v1 mixedbread-ai/mxbai-rerank-base-v2 mixedbread-ai/mxbai-rerank-large-v2 Alibaba-NLP/gte-reranker-modernbert-base ibm-granite/granite-embedding-reranker-english-r2 maidalun1020/bce-reranker-base_v1 cl-nagoya/ruri-v3-reranker-310m amberoad/bert-multilingual-passage-reranking-msmarco sdadas/polish-reranker-base-ranknet Qwen/Qwen3-Reranker-0.6B Qwen/Qwen3-Reranker-4B Qwen/Qwen3-Reranker-8B tomaarsen/Qwen3-Reranker-0.6B-seq-cls Qwen/Qwen3-VL-Reranker-2B jinaai/jina-reranker-v2-base-multilingual zeroentropy/zerank-1-small zeroentropy/zerank-1 zeroentropy/zerank-2 castorini/monot5-base-msmarco unicamp-dl/mt5-base-mmarco-v2 colbert-ir/colbertv2.0 lightonai/GTE-ModernColBERT-v1 LiquidAI/LFM2-ColBERT-350M' ;;
        "serve --backend") echo 'auto onnx openvino torch' ;;
        "serve --dtype") echo 'auto fp32 bf16 fp16 int8' ;;
        "serve --as") echo 'auto embedding' ;;
        "serve --cache-mode") echo 'rw ro' ;;
        "mcp --root") echo 'FOLDERS' ;;
        "mcp --max-documents" | "mcp --device" | "mcp --threads" | "mcp --instruction" | "mcp --endpoint" | "mcp --api-key-env" | "mcp --auth-header" | "mcp --client-name" | "mcp --header" | "mcp --extra" | "mcp --batch-docs" | "mcp --concurrency" | "mcp --timeout" | "mcp --retries" | "mcp --max-wait" | "mcp --requests-per-minute" | "mcp --tokens-per-minute" | "mcp --max-units" | "mcp --max-cost" | "mcp --window-size" | "mcp --window-step" | "mcp --passes" | "mcp --max-tokens-per-doc" | "mcp --max-chunks-per-doc") echo 'NOTHING' ;;
        "mcp -m" | "mcp --model" | "mcp --fallback") echo 'builtin cohere-v2: cohere-v1: azure-serverless: azure-foundry: jina: voyage: mixedbread: together: siliconflow: pinecone: nvidia-hosted: nvidia-nim: tei: vllm: infinity: llamacpp: localai: xinference: litellm: new-api: elasticsearch: zeroentropy: dashscope: dashscope-compat: isaacus: contextual: fireworks: nebius: openrouter: vercel: deepinfra: bedrock: bedrock-invoke: vertex: cloudflare: baseten: openai-decisions: chat: azure: cohere: elastic: jinaai: llama-cpp: llama.cpp: mxbai: newapi: nim: nvidia: text-embeddings-inference: vercel-ai-gateway: vertex-ai: voyageai: workers-ai: cross-encoder/ms-marco-TinyBERT-L2-v2 cross-encoder/ms-marco-MiniLM-L2-v2 cross-encoder/ms-marco-MiniLM-L4-v2 cross-encoder/ms-marco-MiniLM-L6-v2 cross-encoder/ms-marco-MiniLM-L12-v2 cross-encoder/ms-marco-electra-base cross-encoder/mmarco-mMiniLMv2-L12-H384-v1 cross-encoder/ettin-reranker-17m-v1 cross-encoder/ettin-reranker-32m-v1 cross-encoder/ettin-reranker-68m-v1 cross-encoder/ettin-reranker-150m-v1 cross-encoder/ettin-reranker-400m-v1 cross-encoder/ettin-reranker-1b-v1 BAAI/bge-reranker-base BAAI/bge-reranker-large BAAI/bge-reranker-v2-m3 dragonkue/bge-reranker-v2-m3-ko BAAI/bge-reranker-v2-gemma mixedbread-ai/mxbai-rerank-xsmall-v1 mixedbread-ai/mxbai-rerank-base-v1 mixedbread-ai/mxbai-rerank-large-v1 mixedbread-ai/mxbai-rerank-base-v2 mixedbread-ai/mxbai-rerank-large-v2 Alibaba-NLP/gte-reranker-modernbert-base ibm-granite/granite-embedding-reranker-english-r2 maidalun1020/bce-reranker-base_v1 cl-nagoya/ruri-v3-reranker-310m amberoad/bert-multilingual-passage-reranking-msmarco sdadas/polish-reranker-base-ranknet Qwen/Qwen3-Reranker-0.6B Qwen/Qwen3-Reranker-4B Qwen/Qwen3-Reranker-8B tomaarsen/Qwen3-Reranker-0.6B-seq-cls Qwen/Qwen3-VL-Reranker-2B jinaai/jina-reranker-v2-base-multilingual zeroentropy/zerank-1-small zeroentropy/zerank-1 zeroentropy/zerank-2 castorini/monot5-base-msmarco unicamp-dl/mt5-base-mmarco-v2 colbert-ir/colbertv2.0 lightonai/GTE-ModernColBERT-v1 LiquidAI/LFM2-ColBERT-350M' ;;
        "mcp --backend") echo 'auto onnx openvino torch' ;;
        "mcp --dtype") echo 'auto fp32 bf16 fp16 int8' ;;
        "mcp --as") echo 'auto embedding' ;;
        "mcp --template" | "mcp --api-key-file" | "mcp --ca-bundle" | "mcp --config") echo 'FILES' ;;
        "mcp --long-documents") echo 'chunk truncate error' ;;
        "models list --config") echo 'FILES' ;;
        "models show --backend") echo 'auto onnx openvino torch' ;;
        "models show --template" | "models show --config") echo 'FILES' ;;
        "models show --as") echo 'auto embedding' ;;
        "models pull --backend") echo 'auto onnx openvino torch' ;;
        "models pull --config") echo 'FILES' ;;
        "models verify --backend") echo 'auto onnx openvino torch' ;;
        "models verify --config") echo 'FILES' ;;
        "models convert --form") echo 'fp32 int8 openvino' ;;
        "models convert -o" | "models convert --output") echo 'FOLDERS' ;;
        "models convert --threads") echo 'NOTHING' ;;
        "models convert --template" | "models convert --config") echo 'FILES' ;;
        "models convert --as") echo 'auto embedding' ;;
        "models known --config") echo 'FILES' ;;
        "models providers --config") echo 'FILES' ;;
        "doctor -m" | "doctor --model") echo 'builtin' ;;
        "doctor --backend") echo 'auto onnx openvino torch' ;;
        "doctor --device" | "doctor --threads" | "doctor --instruction") echo 'NOTHING' ;;
        "doctor --dtype") echo 'auto fp32 bf16 fp16 int8' ;;
        "doctor --as") echo 'auto embedding' ;;
        "doctor --template" | "doctor --config") echo 'FILES' ;;
        "cache info --cache-path" | "cache info --config") echo 'FILES' ;;
        "cache verify --cache-path" | "cache verify --config") echo 'FILES' ;;
        "cache clear --cache-path" | "cache clear --config") echo 'FILES' ;;
        "completion --config") echo 'FILES' ;;
        "config --config") echo 'FILES' ;;
        *) return 1 ;;
    esac
}

# The options of a command.
_rerank_options() {
    case "$1" in
        "rank") echo '-q --query --query-file --input-format --delimiter --encoding --max-line --max-unpacked --rank-fields --field-format --text-field --id-field --on-missing --records -z --null -n --top-n --min-score --keep-order --prior-field --fusion --weight --join --raw-scores --prefilter --recency --half-life --boost --boost-field --boost-limit --dedupe --cutoff --group-by --group-size --diversity --max-context-tokens --tokenizer --highlight --max-tokens-per-doc --long-documents --max-chunks-per-doc --fail-if-empty --expect --qrels -f --format --json --context -o --output --explain --documents --no-documents --result-key --query-id --run-tag --color -m --model --fallback --fail-closed --backend --device --dtype --threads --as --instruction --template --offline --require-revision --trust-remote-code --allow-pickle --endpoint --api-key-env --api-key-file --auth-header --client-name --header --extra --batch-docs --concurrency --timeout --retries --max-wait --requests-per-minute --tokens-per-minute --max-units --max-cost --window-size --window-step --passes --dry-run --allow-split --native-rank-fields --ca-bundle --insecure --cache --no-cache --cache-path --cache-mode -v --verbose --quiet --debug --config --no-config --help' ;;
        "batch") echo '--queries --query-format --documents --run --corpus --depth --input-format --delimiter --encoding --max-line --max-unpacked --rank-fields --field-format --text-field --id-field --on-missing --records -n --top-n --min-score --prior-field --fusion --weight --join --raw-scores --recency --half-life --boost --boost-field --boost-limit --dedupe --cutoff --group-by --group-size --diversity --max-context-tokens --tokenizer --highlight --max-tokens-per-doc --long-documents --max-chunks-per-doc --qrels -f --format -o --output --out-dir --errors --summary --return-documents --no-return-documents --result-key --explain --context --run-tag --strict --resume --shard --engine --ray-address --workers --gpus-per-worker -m --model --fallback --fail-closed --backend --device --dtype --threads --as --instruction --template --offline --require-revision --trust-remote-code --allow-pickle --endpoint --api-key-env --api-key-file --auth-header --client-name --header --extra --batch-docs --concurrency --timeout --retries --max-wait --requests-per-minute --tokens-per-minute --max-units --max-cost --window-size --window-step --passes --allow-split --native-rank-fields --ca-bundle --insecure --cache --no-cache --cache-path --cache-mode -v --verbose --quiet --debug --config --no-config --help' ;;
        "eval") echo '--qrels --queries --encoding --max-line --max-unpacked --measure --baseline --fail-under --fail-on-drop --by-query --worst --resamples --seed -f --format --json -o --output -v --verbose --quiet --debug --config --no-config --help' ;;
        "compare") echo '--encoding --max-line --max-unpacked --depth --rbo-p --limit -f --format --json -o --output -v --verbose --quiet --debug --config --no-config --help' ;;
        "serve") echo '--host --port --keys-file --keys-env --strict --served-name --max-body --max-documents --max-query --max-document --max-tokens --max-queue --request-timeout --max-connections --allowed-host --cors-origin --playground --no-playground --access-log --no-access-log --max-tokens-per-doc --long-documents --max-chunks-per-doc -m --model --fallback --fail-closed --backend --device --dtype --threads --as --instruction --template --offline --require-revision --trust-remote-code --allow-pickle --endpoint --api-key-env --api-key-file --auth-header --client-name --header --extra --batch-docs --concurrency --timeout --retries --max-wait --requests-per-minute --tokens-per-minute --max-units --max-cost --window-size --window-step --passes --allow-split --native-rank-fields --ca-bundle --insecure --cache --no-cache --cache-path --cache-mode -v --verbose --quiet --debug --config --no-config --help' ;;
        "mcp") echo '--root --max-documents -m --model --fallback --fail-closed --backend --device --dtype --threads --as --instruction --template --offline --require-revision --trust-remote-code --allow-pickle --endpoint --api-key-env --api-key-file --auth-header --client-name --header --extra --batch-docs --concurrency --timeout --retries --max-wait --requests-per-minute --tokens-per-minute --max-units --max-cost --window-size --window-step --passes --allow-split --native-rank-fields --ca-bundle --insecure --max-tokens-per-doc --long-documents --max-chunks-per-doc -v --verbose --quiet --debug --config --no-config --help' ;;
        "models") echo 'list show pull verify convert known providers --help' ;;
        "models list") echo '--json -v --verbose --quiet --debug --config --no-config --help' ;;
        "models show") echo '--backend --offline --trust-remote-code --allow-pickle --template --as --json -v --verbose --quiet --debug --config --no-config --help' ;;
        "models pull") echo '--backend --offline --trust-remote-code --allow-pickle --json -v --verbose --quiet --debug --config --no-config --help' ;;
        "models verify") echo '--backend --allow-pickle --json -v --verbose --quiet --debug --config --no-config --help' ;;
        "models convert") echo '--form -o --output --threads --offline --trust-remote-code --allow-pickle --template --as --json -v --verbose --quiet --debug --config --no-config --help' ;;
        "models known") echo '--json -v --verbose --quiet --debug --config --no-config --help' ;;
        "models providers") echo '--json -v --verbose --quiet --debug --config --no-config --help' ;;
        "doctor") echo '-m --model --backend --device --dtype --threads --as --instruction --template --offline --require-revision --trust-remote-code --allow-pickle --json -v --verbose --quiet --debug --config --no-config --help' ;;
        "cache") echo 'info verify clear --help' ;;
        "cache info") echo '--cache-path --json -v --verbose --quiet --debug --config --no-config --help' ;;
        "cache verify") echo '--cache-path --json -v --verbose --quiet --debug --config --no-config --help' ;;
        "cache clear") echo '--cache-path --json -v --verbose --quiet --debug --config --no-config --help' ;;
        "completion") echo '-v --verbose --quiet --debug --config --no-config --help' ;;
        "config") echo '--json -v --verbose --quiet --debug --config --no-config --help' ;;
    esac
}

# What a command takes beside options: words, FILES or NOTHING.
_rerank_arguments() {
    case "$1" in
        "rank") echo 'FILES' ;;
        "batch") echo 'FILES' ;;
        "eval") echo 'FILES' ;;
        "compare") echo 'FILES' ;;
        "serve") echo 'NOTHING' ;;
        "mcp") echo 'NOTHING' ;;
        "models list") echo 'NOTHING' ;;
        "models show") echo 'NOTHING' ;;
        "models pull") echo 'NOTHING' ;;
        "models verify") echo 'NOTHING' ;;
        "models convert") echo 'NOTHING' ;;
        "models known") echo 'NOTHING' ;;
        "models providers") echo 'cohere-v2 cohere-v1 azure-serverless azure-foundry jina voyage mixedbread together siliconflow pinecone nvidia-hosted nvidia-nim tei vllm infinity llamacpp localai xinference litellm new-api elasticsearch zeroentropy dashscope dashscope-compat isaacus contextual fireworks nebius openrouter vercel deepinfra bedrock bedrock-invoke vertex cloudflare baseten openai-decisions chat azure cohere elastic jinaai llama-cpp llama.cpp mxbai newapi nim nvidia text-embeddings-inference vercel-ai-gateway vertex-ai voyageai workers-ai' ;;
        "doctor") echo 'NOTHING' ;;
        "cache info") echo 'NOTHING' ;;
        "cache verify") echo 'NOTHING' ;;
        "cache clear") echo 'NOTHING' ;;
        "completion") echo 'bash zsh fish' ;;
        "config") echo 'rank batch eval compare serve mcp models doctor cache completion config' ;;
    esac
}

# Fill COMPREPLY with the words of $1 and, if $2 says so, with files or folders that begin with $3.
_rerank_reply() {
    local line IFS=$'\n'
    while read -r line; do
        COMPREPLY+=("$line")
    done < <(
        compgen -W "${1// /$'\n'}" -- "$3"
        [[ $2 == FILES ]] && compgen -f -- "$3"
        [[ $2 == FOLDERS ]] && compgen -d -- "$3"
    )
    if [[ $2 == F* ]]; then
        compopt -o filenames 2>/dev/null
        # A quoted name is more than compgen understands: readline's own completion then has its turn.
        [[ ${#COMPREPLY[@]} -eq 0 ]] && compopt -o default 2>/dev/null
    fi
    return 0
}

_rerank() {
    local cur=${COMP_WORDS[COMP_CWORD]} at=$((COMP_CWORD - 1)) prefix= command=rank values i
    COMPREPLY=()
    # bash also splits words at : and =: `-m cohere:re` and `--format=js` arrive in pieces. `at` is the option's place.
    if [[ $cur == : ]]; then
        prefix=${COMP_WORDS[at]}:
        cur=
        ((at -= 1))
    elif [[ ${COMP_WORDS[at]} == : ]]; then
        prefix=${COMP_WORDS[at - 1]}:
        ((at -= 2))
    fi
    if [[ $cur == = ]]; then
        cur=
    elif [[ ${COMP_WORDS[at]} == = ]]; then
        ((at -= 1))
    fi
    if [[ $COMP_CWORD -gt 1 ]]; then
        case "${COMP_WORDS[1]}" in
            rank | batch | eval | compare | serve | mcp | models | doctor | cache | completion | config) command=${COMP_WORDS[1]} ;;
        esac
    fi
    case "$command" in
        models | cache)
            if [[ $COMP_CWORD -eq 2 ]]; then
                _rerank_reply "$(_rerank_options "$command")" NOTHING "$cur"
                return 0
            fi
            command="$command ${COMP_WORDS[2]}"
            ;;
    esac
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [[ ${COMP_WORDS[i]} == -- ]]; then
            _rerank_reply "" FILES "$cur"
            return 0
        fi
    done
    if [[ ${COMP_WORDS[at]} == -* ]] && values=$(_rerank_values "$command" "${COMP_WORDS[at]}"); then
        case "$values" in
            NOTHING) ;;
            FILES | FOLDERS) _rerank_reply "" "$values" "$cur" ;;
            *)
                _rerank_reply "$values" NOTHING "$prefix$cur"
                for ((i = 0; i < ${#COMPREPLY[@]}; i++)); do
                    [[ ${COMPREPLY[i]} == *: ]] && compopt -o nospace 2>/dev/null
                    COMPREPLY[i]=${COMPREPLY[i]#"$prefix"}
                    [[ -z ${COMPREPLY[i]} ]] && unset "COMPREPLY[i]" # all of it is typed already
                done
                ;;
        esac
        return 0
    fi
    if [[ $cur == -* ]]; then
        values=$(_rerank_options "$command")
        [[ $COMP_CWORD -eq 1 ]] && values="$values --version"
        _rerank_reply "$values" NOTHING "$cur"
    elif [[ $COMP_CWORD -eq 1 ]]; then
        _rerank_reply "rank batch eval compare serve mcp models doctor cache completion config" FILES "$cur"
    else
        values=$(_rerank_arguments "$command")
        case "$values" in
            NOTHING) ;;
            FILES) _rerank_reply "" FILES "$cur" ;;
            *) _rerank_reply "$values" NOTHING "$cur" ;;
        esac
    fi
    return 0
}

complete -F _rerank rerank
