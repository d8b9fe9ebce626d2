"""Scores to numbers with errors: metrics, uncertainties, consistency, verification."""
