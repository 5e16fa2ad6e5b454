"""Damaged files led by the branches that they reach: Atheris (libFuzzer) over the readers of `tests/hostile/corpus.py`.

``python -m benchmarks.guided_fuzz KIND [--seconds N]`` reads mutations of the valid files of a kind, such as RTSTRUCT,
for so long; needs ``pip install atheris``. What raises anything but a SourceError, or takes over 20 s, ends it with an
error and is written to a file. The last line says how many inputs were read and how many branches they reached.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["npczarr"], enable_loader_override=False):
    from npczarr.errors import SourceError
    from tests.hostile import corpus


def main() -> None:
    """Read mutations of one kind of file."""
    kinds = corpus.KINDS | corpus.SLOW_KINDS
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=kinds)
    parser.add_argument("--seconds", type=int, default=60)
    chosen = parser.parse_args()
    kind = kinds[chosen.kind]
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        seeds, scratch = Path(folder, "seeds"), Path(folder, "scratch")
        seeds.mkdir()
        scratch.mkdir()
        for i, example in enumerate(kind.examples()):
            (seeds / str(i)).write_bytes(example)

        def read(content: bytes) -> None:
            with suppress(SourceError):
                kind.read(kind.pack(content), scratch)

        options = [f"-max_total_time={chosen.seconds}", "-timeout=20", "-max_len=100000", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *options, str(seeds)], read)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
