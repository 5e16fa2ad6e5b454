"""The errors that npczarr raises on purpose.

Each message says where, what was expected, what was found and what to do.
"""


class NpczarrError(Exception):
    """Base class: catch this to catch every error that npczarr raises on purpose."""


class SourceError(NpczarrError):
    """A file, folder, archive or table that was read is missing, damaged or not what it should be."""


class GeometryError(SourceError):
    """Positions, orientations or affines that do not describe one regular voxel grid."""


class StoreError(NpczarrError):
    """A store that cannot be opened, is damaged, or does not follow the schema."""


class ReadOnlyError(StoreError):
    """A store that this process may read but not write."""


class LeaseError(StoreError):
    """Another process is writing to the store."""


class ClusterError(NpczarrError):
    """The Dask cluster that was to do the work went away."""


class ParameterError(NpczarrError, ValueError):
    """An argument that cannot be used as given."""
