"""The config: its values as dataclasses, its checks, the archive's opening hours."""
