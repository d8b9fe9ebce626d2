"""Figures of results, one module each."""
