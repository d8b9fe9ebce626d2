"""What lies on disk, and on which machine: records, results, cached stages, arrays, locks, keys."""
