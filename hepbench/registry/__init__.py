"""Finds and loads installed plugins through their hooks, and digests their source files."""
