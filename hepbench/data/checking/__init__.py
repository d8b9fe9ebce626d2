"""Checks of dataset files: a summary of their contents, and warnings."""
