"""Plugins: their hooks, how they are found, and digests of their sources."""
