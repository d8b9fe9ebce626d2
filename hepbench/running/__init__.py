"""Carries out a plan: runner, executors, isolated workers, progress."""
