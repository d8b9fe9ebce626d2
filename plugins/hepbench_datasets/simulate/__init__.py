"""Generators that simulate each dataset, mostly by Pythia and a parametric detector."""

from __future__ import annotations
