"""What could identify a patient: found, removed, and the published record fetched."""
