"""Compares two results cell by cell, in quality and cost, and decides whether a gate passes."""
