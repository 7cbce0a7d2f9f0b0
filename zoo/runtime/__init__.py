"""How an exported model runs elsewhere: onnxruntime, numpy and Pillow; no torch, no plugin."""
