"""Figures of results, a module each."""
