"""What exists: cards, plugins and the registry. Imports neither torch nor onnx."""
