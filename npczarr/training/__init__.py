"""Feeding a model: patches of a store as batches of arrays."""
