"""Generators that simulate each dataset again: mostly Pythia collisions in a parametric detector."""

from __future__ import annotations
