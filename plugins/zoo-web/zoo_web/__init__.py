"""onnxruntime-web 1.30.0, which pages of `zoo export --web` carry; there is no code."""
