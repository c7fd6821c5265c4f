"""Conversion of ONNX graphs: float32 in, 8-bit weights out. Needs the `onnx` package, imported inside functions."""
