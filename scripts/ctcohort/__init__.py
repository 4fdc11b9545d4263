"""From a radiology report table to machine-learning-ready chest CT volumes.

DEVELOPMENT.md names the rooms and what each may import.
"""

ALGORITHM_VERSION = "2"
"""Raised whenever the arrays of a volume made from the same input would change by a bit."""
