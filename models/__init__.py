"""Sparse profile → filled profile: training with torch, running with ONNX, one tensor schema for both."""
