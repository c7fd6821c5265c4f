"""Conversion of torch checkpoints to ONNX (float32 or 8-bit) and OpenVINO.

Needs the `convert` extra, and for the OpenVINO form the `openvino` extra too.
"""
