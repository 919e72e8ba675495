"""The engine: a lattice of tiles, a store that keeps them, and a sweep that computes the missing ones."""
