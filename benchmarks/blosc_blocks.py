"""Chunks of `image` compressed in blocks of 256 KiB, as npczarr has it with zstd, and in those that Blosc chooses.

Run ``python benchmarks/blosc_blocks.py [--data FOLDER]``; FOLDER holds ``real_cohort`` (not part of this repository;
without it a full-size phantom alone is measured). Both sides take turns on the same chunks, in one process, and must
give back the same voxels.
"""

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
import xarray as xr
from numcodecs import Blosc
from turns import in_turns, tell

import npczarr as npc
from npczarr.store.cohort import StoredCohort
from npczarr.store.location import locate
from npczarr.store.zarr_library import image_codecs

MOST_BYTES = 100e6


def chunks_of(store):
    """Chunks of a store's images before they are encoded, up to so many bytes."""
    depth, rows, columns = xr.open_zarr(store, chunks=None).image.encoding["chunks"][-3:]
    found, size = [], 0
    for scan in StoredCohort(locate(store)):
        image = scan.image()
        for z in range(0, len(image), depth):
            part = image[z : z + depth, :rows, :columns]
            chunk = np.zeros((depth, rows, columns), image.dtype)
            chunk[tuple(map(slice, part.shape))] = part
            found.append(chunk)
            size += chunk.nbytes
        if size > MOST_BYTES:
            break
    return found


def for_all(act, pieces):
    def run():
        for piece in pieces:
            act(piece)  # what it gives is let go at once, as in a conversion

    return run


def measure(name, codec, chunks, turns):
    level = image_codecs(codec)[0].to_dict()["configuration"]["clevel"]
    both = {side: Blosc(codec, level, Blosc.SHUFFLE, size) for side, size in (("256 KiB", 2**18), ("Blosc's own", 0))}
    encoded = {side: [blosc.encode(chunk) for chunk in chunks] for side, blosc in both.items()}
    for side, blosc in both.items():
        for content, chunk in zip(encoded[side], chunks, strict=True):
            assert blosc.decode(content) == chunk.tobytes(), "other voxels"
    size, own = (sum(map(len, contents)) for contents in encoded.values())
    print(f"{name}, {codec}: bytes in blocks of 256 KiB / Blosc's own {size / own:.3f}")
    tell(
        in_turns({f"encode, {s}": for_all(blosc.encode, chunks) for s, blosc in both.items()}, turns), "encode, 256 KiB"
    )
    tell(
        in_turns({f"decode, {s}": for_all(blosc.decode, encoded[s]) for s, blosc in both.items()}, turns),
        "decode, 256 KiB",
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("NPCZARR_DATA"))
    parser.add_argument("--turns", type=int, default=25)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        npc.make_cohort(scratch / "full", patients=2, size="full", reliability=False)
        sources = {"full-size phantom": scratch / "full" / "primary_data"}
        if options.data is not None and (real := Path(options.data, "real_cohort")).is_dir():
            sources["real cohort"] = real
        for i, (name, source) in enumerate(sources.items()):
            npc.convert(source, scratch / f"{i}.zarr", workers=0)
            chunks = chunks_of(scratch / f"{i}.zarr")
            for codec in ("lz4", "zstd"):
                measure(name, codec, chunks, options.turns)


if __name__ == "__main__":
    main()
