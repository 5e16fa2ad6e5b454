"""Scans of a store as files of other tools, and masks back from them."""
