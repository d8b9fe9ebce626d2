"""Run a plan: sessions, worker processes, signals, progress, traces of used files, records."""
