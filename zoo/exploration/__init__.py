"""What lies in the codes of a model: maps, paths, directions and neighbours. Without torch."""
