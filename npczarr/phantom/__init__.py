"""A synthetic cohort in the published layout."""
