"""The tables, figures and page that a cohort's store gives."""
