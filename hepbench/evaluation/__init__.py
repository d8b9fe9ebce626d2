"""Evaluates stored scores: metrics with uncertainties, and verification of records."""
