"""Damaged files by the thousand: how many crash a reader, hang it, cost another scan, and what memory they take.

Run ``python benchmarks/hostile.py [--seconds N] [--seed N] [--data FOLDER]``: so many seconds for each kind of file,
one process at a time. An input is a valid file with one to four damages (bits flipped, sizes overwritten, pieces cut,
dropped, repeated or spliced from another file) and is told by its seed. A crash is any error that is not a
SourceError, or a process that died; a hang is an input that takes more than 20 s. ``--data`` adds real compressed
DICOM. The last line damages single files of a whole cohort, converts it, and looks for undamaged scans that are not in
the store voxel for voxel.
"""

import argparse
import faulthandler
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

HANG_SECONDS = 20
COHORT = "whole cohort, converted"


def real_kinds(data):
    """Kinds of real compressed DICOM, by transfer syntax."""
    from pydicom.uid import UID

    from tests.hostile import corpus

    def kind(content):
        start = content.rindex(b"\xe0\x7f\x10\x00")  # in front of it another kind looks
        head, pixels = content[:start], content[start:]
        return corpus.Kind(lambda: [pixels], lambda c, folder: read_one(head + c))

    def read_one(content):
        source = corpus.Held({"1": content}, corpus.Limits(scan_gb=0.2))
        corpus.read_scan(source, source.files())

    found = corpus.compressed_slices(data) if data else {}
    return {f"real pixels, {UID(syntax).name.split(',')[0]}": kind(content) for syntax, content in found.items()}


def damage_and_read(name, seconds, seed, data):
    """Read damaged files of a kind until the time is over; print what happened after each, as lines of JSON."""
    from npczarr.errors import SourceError
    from tests.hostile import corpus

    warnings.simplefilter("error")
    kind = (corpus.KINDS | corpus.SLOW_KINDS | real_kinds(data))[name]
    examples = kind.examples()
    tried, refused, slowest = 0, 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for example in examples:
            kind.read(kind.pack(example), Path(folder))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            dice = random.Random(f"{name} {seed + tried}")
            content = corpus.damage(dice.choice(examples), corpus.random_edits(dice), dice.choice(examples))
            content = kind.pack(content)
            faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
            started = time.monotonic()
            try:
                kind.read(content, Path(folder))
            except SourceError:
                refused += 1
            except Exception as error:
                print(json.dumps({"crash": f"seed {seed + tried}: {type(error).__name__}: {error}"}), flush=True)
            faulthandler.cancel_dump_traceback_later()
            slowest = max(slowest, time.monotonic() - started)
            tried += 1
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            if tried % 100 == 0 or time.monotonic() >= end:
                state = {"tried": tried, "refused": refused, "slowest": slowest, "mb": peak / 1e3}
                print(json.dumps(state | {"more_mb": (peak - before) / 1e3}), flush=True)


def damage_and_convert(seconds, seed):
    """Convert cohorts with some damaged files until the time is over; print what happened, as lines of JSON."""
    import numpy as np

    import npczarr as npc
    from tests.builders import write_cohort
    from tests.hostile import corpus

    warnings.simplefilter("error")
    tried = refused = lost = 0
    slowest = 0.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with tempfile.TemporaryDirectory() as folder:
            source, store = Path(folder, "source"), Path(folder, "a.zarr")
            written = write_cohort(source, patients=("001", "002", "003", "004"))
            files = sorted(p for p in source.rglob("*") if p.suffix in (".dcm", ".nii"))
            hurt = set()
            for _ in range(6):
                dice = random.Random(f"cohort {seed + tried}")
                path = dice.choice(files)
                path.write_bytes(corpus.damage(path.read_bytes(), corpus.random_edits(dice)))
                part = path.parent.name if path.suffix == ".dcm" else path.stem.replace("ROI-", "") + "WI"
                hurt.add((path.parts[-3] if path.suffix == ".dcm" else path.parent.name, part))
                tried += 1
            faulthandler.dump_traceback_later(10 * HANG_SECONDS, exit=True)
            started = time.monotonic()
            try:
                result = npc.convert(source, store, workers=0)
                refused += int((result.status == "refused").sum() + (result.mask_status == "refused").sum())
                ds = npc.open(store)
                for key in written.keys() - hurt:
                    image, mask, _ = written[key]
                    scan = ds.npc.scan(*key)
                    lost += not (np.array_equal(scan.image, image) and np.array_equal(scan.mask, mask))
            except Exception as error:
                print(json.dumps({"crash": f"seed {seed + tried}: {type(error).__name__}: {error}"}), flush=True)
            faulthandler.cancel_dump_traceback_later()
            slowest = max(slowest, time.monotonic() - started)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        state = {"tried": tried, "refused": refused, "slowest": slowest, "mb": peak / 1e3, "lost": lost}
        print(json.dumps(state | {"more_mb": (peak - before) / 1e3}), flush=True)


def run(name, options):
    """Run one kind in a process of its own, again where it dies; return the sums."""
    total = {"tried": 0, "refused": 0, "slowest": 0.0, "mb": 0.0, "more_mb": 0.0, "lost": 0, "crashes": [], "hangs": 0}
    seed, end = options.seed, time.monotonic() + options.seconds
    while (left := end - time.monotonic()) > 1:
        command = [sys.executable, __file__, "--kind", name, "--seed", str(seed), "--seconds", str(left)]
        command += ["--data", str(options.data)] if options.data else []
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        total["crashes"] += [line["crash"] for line in lines if "crash" in line]
        last = next((line for line in reversed(lines) if "tried" in line), {"tried": 0})
        for key in ("tried", "refused", "lost"):
            total[key] += last.get(key, 0)
        for key in ("slowest", "mb", "more_mb"):
            total[key] = max(total[key], last.get(key, 0))
        if done.returncode == 0:
            break
        seed += last["tried"] + 100
        if "Timeout" in done.stderr:
            total["hangs"] += 1
        else:
            total["crashes"].append(f"died with {done.returncode}: {done.stderr[-300:]}")
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, help="folder of real compressed DICOM")
    parser.add_argument("--kind", help="this kind only, in this process, as lines of JSON")
    options = parser.parse_args()
    if options.kind == COHORT:
        return damage_and_convert(options.seconds, options.seed)
    if options.kind:
        return damage_and_read(options.kind, options.seconds, options.seed, options.data)
    from tests.hostile import corpus

    print("| kind | inputs | refused | crashes | hangs | scans lost | slowest, ms | memory, MB (above its start) |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name in (*corpus.KINDS, *corpus.SLOW_KINDS, *real_kinds(options.data), COHORT):
        t = run(name, options)
        print(
            f"| {name} | {t['tried']} | {t['refused']} | {len(t['crashes'])} | {t['hangs']} | {t['lost']} | "
            f"{1000 * t['slowest']:.0f} | {t['mb']:.0f} (+{t['more_mb']:.0f}) |",
            flush=True,
        )
        for crash in list(dict.fromkeys(t["crashes"]))[:5]:
            print(f"    {crash[:300]}", flush=True)


if __name__ == "__main__":
    main()
