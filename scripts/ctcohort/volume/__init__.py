"""One downloaded series to a volume, and its measurements."""
