"""The version of hepbench."""

from __future__ import annotations

__version__ = "0.1.0"
