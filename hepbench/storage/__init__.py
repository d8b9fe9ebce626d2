"""What is on disk (records, results, stage cache, arrays, locks, keys), and machine facts."""
