"""Figures of datasets by class, a module each."""
