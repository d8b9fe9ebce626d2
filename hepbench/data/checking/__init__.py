"""Checks of a dataset's files: what they hold, and what is unusual about them."""
