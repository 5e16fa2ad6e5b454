"""Draw the three sequences of a patient with the outline of the tumor.

Usage: python plot_scan.py [STORE PATIENT [PNG]]; without a store, a small synthetic one is made.
"""

import sys
import tempfile
from pathlib import Path

import matplotlib
import xarray as xr

matplotlib.use("Agg")  # a file is written, no window is needed
import matplotlib.pyplot as plt

import npczarr as npc


def main(store: Path, patient: str, png: Path) -> None:
    ds = xr.open_zarr(store)
    figure, axes = plt.subplots(1, ds.sizes["sequence"], figsize=(12, 4.6), squeeze=False, layout="constrained")
    for ax, sequence in zip(axes.flat, ds.sequence.values, strict=True):
        scan = ds.npc.scan(patient, str(sequence)).load()
        # the slice with the most tumor
        z = int(scan.mask.sum(["y", "x"]).argmax("z"))
        image, mask = scan.image[z], scan.mask[z]
        ax.imshow(image, cmap="gray", vmax=float(image.quantile(0.995)), extent=_extent_mm(image))
        if mask.any():
            ax.contour(image.x, image.y, mask, levels=[0.5], colors="red", linewidths=1)
        ax.set(title=f"{patient} {sequence}, z = {float(scan.z[z]):.1f} mm", xlabel="x, mm", ylabel="y, mm")
    figure.savefig(png, dpi=120)
    print(f"wrote {png}")


def _extent_mm(image: xr.DataArray) -> tuple[float, float, float, float]:
    """Edges of the image, half a voxel beyond the centers; y grows downwards, to the back of the head."""
    x, y = image.x.values, image.y.values
    half_x, half_y = (x[1] - x[0]) / 2, (y[1] - y[0]) / 2
    return x[0] - half_x, x[-1] + half_x, y[-1] + half_y, y[0] - half_y


def synthetic(folder: Path) -> Path:
    npc.make_cohort(folder / "cohort", patients=1, size="full", workers=0, reliability=False)
    npc.convert(folder / "cohort/primary_data", folder / "npc.zarr", workers=0)
    return folder / "npc.zarr"


if __name__ == "__main__":
    png = Path(sys.argv[3] if len(sys.argv) > 3 else "scan.png")
    if len(sys.argv) > 2:
        main(Path(sys.argv[1]), sys.argv[2], png)
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(synthetic(Path(folder)), "001", png)
