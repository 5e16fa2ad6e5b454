"""The only Dask: what runs over a whole cohort, and how a graph is run."""
