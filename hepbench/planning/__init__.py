"""Plans runs: turns a suite into cells and stages with content keys. Runs nothing. Pure."""
