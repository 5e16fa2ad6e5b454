"""The kernels' definitions written out plainly, and what hypothesis draws: slow, short, easy to check by eye."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import pdist
from skimage.measure import marching_cubes

law = settings(deadline=None, max_examples=150)  # no deadline: the first call compiles

spacings = st.tuples(*[st.floats(0.1, 10.0, allow_nan=False)] * 3)
shapes = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=7)


@st.composite
def masks(draw, shape=None):
    """A mask with some tumor, from scattered voxels to nearly full."""
    shape = draw(shapes) if shape is None else shape
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mask = rng.random(shape) < draw(st.sampled_from([0.05, 0.3, 0.5, 0.8, 0.97]))
    mask[tuple(rng.integers(shape))] = True
    return mask


@st.composite
def pairs(draw):
    shape = draw(shapes)
    return draw(masks(shape)), draw(masks(shape))


def mesh(mask, spacing, method):
    """Triangles (n, 3 corners, 3) in mm and float64, of scikit-image's marching cubes on the padded mask."""
    vertices, faces, _, _ = marching_cubes(np.pad(mask, 1).astype(np.float64), 0.5, method=method)
    return (vertices.astype(np.float64) * spacing)[faces]  # half-integers in voxel units: float32 holds them exactly


def mesh_area(triangles):
    crosses = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    return np.linalg.norm(crosses, axis=1).sum() / 2


def mesh_volume(triangles):
    return abs(np.einsum("ij,ij->", triangles[:, 0], np.cross(triangles[:, 1], triangles[:, 2]))) / 6


def mesh_diameter(triangles):
    return pdist(np.unique(triangles.reshape(-1, 3), axis=0)).max()


def ball(shape, spacing, semi_axes_mm, center_mm=(0.0, 0.0, 0.0)):
    """An ellipsoid about the middle of the grid, moved by center_mm."""
    axes = [(np.arange(n) - (n - 1) / 2) * s - c for n, s, c in zip(shape, spacing, center_mm, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    return (z / semi_axes_mm[0]) ** 2 + (y / semi_axes_mm[1]) ** 2 + (x / semi_axes_mm[2]) ** 2 <= 1
