"""Needed by every room: errors, atomic files, names, reasons, privacy."""
