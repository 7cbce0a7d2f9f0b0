"""How a model is trained: one loop, which names no model."""
