"""A synthetic cohort in the published layout."""

from npczarr.phantom.cohort import CohortSummary, make_cohort

__all__ = ["CohortSummary", "make_cohort"]
