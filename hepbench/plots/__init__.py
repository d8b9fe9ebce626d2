"""Records and datasets to figures."""
