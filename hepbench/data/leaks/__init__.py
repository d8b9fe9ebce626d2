"""Leaks: what tells classes apart that should not, and nearly equal examples in two parts."""
