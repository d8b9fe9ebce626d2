"""Generators of the simulated samples: Pythia collisions in a parametric detector."""

from __future__ import annotations
