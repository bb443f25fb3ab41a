"""How much any map with slopes in given sectors can stretch: norms of layers, and a free metric."""
