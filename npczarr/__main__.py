"""``python -m npczarr``."""

from npczarr.cli import main

main()
