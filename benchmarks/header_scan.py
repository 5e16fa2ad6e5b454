"""Headers as scanned against what pydicom reads: damaged files by the hundred thousand, and the time of each.

Run ``python benchmarks/header_scan.py [--files N] [--seed N] [--data FOLDER]``. A file is a synthetic slice, or with
``--data`` a real one, whose header has one to four damages; its pixels follow. Wherever the scan gives anything, it
must give what pydicom gives, field by field, raw and decoded. The times are of undamaged files.
"""

import argparse
import random
import statistics
import sys
import time
import warnings
from io import BytesIO
from pathlib import Path

import pydicom

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from npczarr.sources.header_scan import scan_header
from npczarr.sources.headers import _TAGS, quiet
from tests.hostile import corpus
from tests.sources.test_header_scan import COMPRESSED, differences, files


def real_files(folder):
    """One file of each folder that the scan reads."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.parent not in found and path.stat().st_size < 10**7:
            content = path.read_bytes()
            if content[128:132] == b"DICM" and differences(content) is not None:
                found[path.parent] = content
    return list(found.values())


def damaged(dice, content, other):
    """Put damages into the header of a file; its pixels follow as they are, unless they are many."""
    start = scan_header(content, _TAGS).get_item("PixelData").value_tell
    head = corpus.damage(content[:start], corpus.random_edits(dice), other[:start])
    return head + content[start:] if len(content) < start + 2**16 else head + content[start : start + 2**19]


def milliseconds(call):
    taken = []
    for _ in range(200):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1e3


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    examples = [content for content in files() if differences(content) is not None]
    examples += [corpus.dicom_slices()[name][1] for name in COMPRESSED]
    examples += real_files(options.data) if options.data else []
    warnings.simplefilter("ignore")
    scanned = differing = 0
    for i in range(options.files):
        dice = random.Random(f"{options.seed} {i}")
        found = differences(damaged(dice, dice.choice(examples), dice.choice(examples)))
        scanned += found is not None
        if found:
            differing += 1
            print(f"seed {options.seed} {i}: {found}", flush=True)
    print(f"{options.files} damaged files of {len(examples)}: {scanned} scanned, {differing} not as pydicom reads them")
    tags = list(_TAGS)
    with quiet():
        for content in examples[:1] + examples[-1:]:
            ours = milliseconds(lambda content=content: scan_header(content, _TAGS))
            theirs = milliseconds(
                lambda content=content: pydicom.dcmread(BytesIO(content), specific_tags=tags, stop_before_pixels=True)
            )
            print(f"a header: {ours:.3f} ms, pydicom {theirs:.3f} ms, ratio {theirs / ours:.1f}")


if __name__ == "__main__":
    main()
