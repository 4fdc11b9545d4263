"""Mutants of everything that is parsed from outside, through the real commands."""
