"""The Zarr store: create, write, open, validate, lease."""
