import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data that DESIGN section 7 describes; the test is skipped where there is none."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("NPCZARR_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set NPCZARR_DATA to its folder")
    return folder
