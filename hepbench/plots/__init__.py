"""Plots of records and of datasets."""
