"""Figures of datasets, class by class."""
