"""Draw figures of recorded results and of datasets."""
