"""Compressed frames: each codec decodes a frame only if its codestream is complete."""
