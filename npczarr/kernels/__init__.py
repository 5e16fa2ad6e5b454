"""The numbers: one NumPy block in, numbers or a block out. No files, no xarray, no Dask."""
