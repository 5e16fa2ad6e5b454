"""Morphology of one tumor: npczarr against the dataset authors' method, VTK, scikit-image and PyRadiomics.

Run ``python benchmarks/morphology.py``. Contestants that are not installed are left out. Every contestant takes turns
with npczarr on the same mask, whole volume in, numbers out; first both must give the same numbers.
"""

import math
import statistics
import time

import numpy as np

from npczarr.kernels.morphology import measure

SHAPE, SPACING = (32, 512, 512), (5.5, 0.43, 0.43)  # z, y, x; mm


def lumpy_tumor():
    """About 9 cm³ in a median scan of the cohort."""
    z, y, x = ((np.arange(n) - centre) * s for n, centre, s in zip(SHAPE, (15.5, 250, 260), SPACING, strict=True))
    z, y, x = np.meshgrid(z, y, x, indexing="ij", sparse=True)
    angle = np.arctan2(y, x)
    radius = 12.6 * (1 + 0.15 * np.cos(3 * angle) + 0.1 * np.sin(5 * angle + z / 4))
    return (z**2 + y**2 + x**2 < radius**2).astype(np.uint8)


def ours(mask):
    shape = measure(mask, SPACING)
    return shape.volume_mm3, shape.surface_area_mm2, shape.max_diameter_mm


def authors(mask):
    """Follow the published script: voxels copied one by one, then every pair of mesh points in Python."""
    import vtk

    image = vtk.vtkImageData()
    image.SetDimensions(mask.shape[::-1])
    image.SetSpacing(SPACING[::-1])
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    for z in range(mask.shape[0]):
        for y in range(mask.shape[1]):
            for x in range(mask.shape[2]):
                image.SetScalarComponentFromFloat(x, y, z, 0, mask[z, y, x])
    volume, area, mesh = vtk_mesh(image)
    points = [mesh.GetPoint(i) for i in range(mesh.GetNumberOfPoints())]
    diameter = 0.0
    for i in range(len(points)):
        for j in range(i + 1, len(points)):
            diameter = max(diameter, math.dist(points[i], points[j]))
    return volume, area, diameter


def vtk_whole_arrays(mask):
    """VTK fed with the array at once; diameter with SciPy's hull."""
    import vtk
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy

    image = vtk.vtkImageData()
    image.SetDimensions(mask.shape[::-1])
    image.SetSpacing(SPACING[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(mask.ravel(), deep=False))
    volume, area, mesh = vtk_mesh(image)
    return volume, area, hull_diameter(vtk_to_numpy(mesh.GetPoints().GetData()).astype(float))


def vtk_mesh(image):
    import vtk

    cubes = vtk.vtkMarchingCubes()
    cubes.SetInputData(image)
    cubes.SetValue(0, 0.5)
    cubes.ComputeNormalsOff()
    cubes.ComputeGradientsOff()
    cubes.Update()
    mass = vtk.vtkMassProperties()
    mass.SetInputConnection(cubes.GetOutputPort())
    mass.Update()
    return mass.GetVolume(), mass.GetSurfaceArea(), cubes.GetOutput()


def scikit_image_on_the_crop(mask):
    from skimage.measure import marching_cubes, mesh_surface_area

    z, y, x = (np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    crop = np.pad(mask[z[0] : z[-1] + 1, y[0] : y[-1] + 1, x[0] : x[-1] + 1], 1)
    vertices, faces, _, _ = marching_cubes(crop, 0.5, spacing=SPACING, method="lorensen")
    corners = vertices[faces].astype(float)
    volume = abs(np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2]))) / 6
    return volume, mesh_surface_area(vertices, faces), hull_diameter(vertices)


def hull_diameter(points):
    from scipy.spatial import ConvexHull
    from scipy.spatial.distance import pdist

    return pdist(points[ConvexHull(points).vertices]).max()


def pyradiomics(mask):
    """All shape features by the extractor; its case table is another, so area and volume are near, not equal."""
    import radiomics
    import SimpleITK as sitk
    from radiomics.featureextractor import RadiomicsFeatureExtractor

    radiomics.setVerbosity(60)
    image = sitk.GetImageFromArray(mask)
    image.SetSpacing(SPACING[::-1])
    extractor = RadiomicsFeatureExtractor()
    extractor.disableAllFeatures()
    extractor.enableFeatureClassByName("shape")
    found = extractor.execute(image, image)
    return tuple(float(found[f"original_shape_{name}"]) for name in ("MeshVolume", "SurfaceArea", "Maximum3DDiameter"))


def pyradiomics_class_alone(mask):
    """Three features by the class inside, without the extractor's checks of image and mask."""
    import radiomics
    import SimpleITK as sitk
    from radiomics.shape import RadiomicsShape

    radiomics.setVerbosity(60)
    image = sitk.GetImageFromArray(mask)
    image.SetSpacing(SPACING[::-1])
    shape = RadiomicsShape(image, image, label=1)
    return (
        float(shape.getMeshVolumeFeatureValue()),
        float(shape.getSurfaceAreaFeatureValue()),
        float(shape.getMaximum3DDiameterFeatureValue()),
    )


CONTESTANTS = {  # repeats; relative difference allowed in volume, area, diameter
    authors: (3, (1e-6, 1e-6, 1e-6)),  # VTK's points are float32
    vtk_whole_arrays: (20, (1e-6, 1e-6, 1e-6)),
    scikit_image_on_the_crop: (50, (1e-6, 1e-6, 1e-6)),
    pyradiomics: (10, (2e-3, 6e-3, 1e-6)),
    pyradiomics_class_alone: (10, (2e-3, 6e-3, 1e-6)),
}


def seconds(function, mask):
    start = time.perf_counter()
    function(mask)
    return time.perf_counter() - start


def main():
    mask = lumpy_tumor()
    expected = ours(mask)
    print("npczarr: volume {:.1f} mm³, area {:.1f} mm², diameter {:.2f} mm".format(*expected))
    for contestant, (repeats, allowed) in CONTESTANTS.items():
        try:
            found = contestant(mask)
        except ImportError as missing:
            print(f"{contestant.__name__}: left out, {missing}")
            continue
        differences = [abs(f / e - 1) for f, e in zip(found, expected, strict=True)]
        assert all(d <= a for d, a in zip(differences, allowed, strict=True)), (contestant.__name__, differences)
        turns = [(seconds(contestant, mask), seconds(ours, mask)) for _ in range(repeats)]
        theirs, own = (statistics.median(times) for times in zip(*turns, strict=True))
        ratio = statistics.median(a / b for a, b in turns)
        print(
            f"{contestant.__name__:26} {theirs * 1e3:10.2f} ms   npczarr {own * 1e3:5.2f} ms   ratio {ratio:7.1f}"
            f"   differs by at most {max(differences):.0e}"
        )


if __name__ == "__main__":
    main()
