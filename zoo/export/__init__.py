"""How a model leaves the zoo: ONNX files that are verified before they take their names."""
