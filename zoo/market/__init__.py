"""Where plugins come from: registries of the network, releases, wheels by hash, pip or uv."""
