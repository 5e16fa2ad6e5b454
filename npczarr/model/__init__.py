"""What a cohort is: geometry, scan and cohort records, the schema registry. No I/O, NumPy only."""
