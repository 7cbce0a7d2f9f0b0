"""Runs exported models with onnxruntime, numpy and Pillow; needs no torch and no plugin."""
