"""Tumour morphology and agreement of masks over a cohort, as lazy Datasets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from itertools import combinations, pairwise
from typing import Any, get_args

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from npczarr import __version__
from npczarr.errors import ParameterError
from npczarr.graphs.blocks import map_scans, scan_geometry
from npczarr.kernels import agreement as agreement_kernel
from npczarr.kernels import morphology as morphology_kernel
from npczarr.kernels.patterns import Method
from npczarr.model.results import AGREEMENT, MORPHOLOGY

TOLERANCE_MM = 2.0
