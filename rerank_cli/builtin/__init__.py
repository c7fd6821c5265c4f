"""The embedded cross-encoder: graphs, weights, tokenizer, facts and digests, written by training/export.py.

There is no code here. `model.onnx` (8-bit activations, one scale per token) is for ONNX Runtime on any CPU;
`model_weight_only.onnx` (plain operators) is for OpenVINO. Both read `weights.bin`. MODEL_CARD.md tells of the model.
"""
