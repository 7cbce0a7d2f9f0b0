"""Exports models as ONNX files that are verified before they get their names."""
