"""Injected faults: what was wrong must be healed by the same command, or said in one clear line."""
