"""Readers: a path in, a model record out."""
