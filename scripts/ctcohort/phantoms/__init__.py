"""Synthetic CT whose truth is known by construction, for the demo and the tests."""
