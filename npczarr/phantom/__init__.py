"""A synthetic cohort in the published layout."""

from npczarr.phantom.cohort import CohortSummary, make_cohort
from npczarr.phantom.plan import SIZES

__all__ = ["SIZES", "CohortSummary", "make_cohort"]
