"""Weight files of zoo's own models, one ``MODEL.safetensors`` each; there is no code."""
