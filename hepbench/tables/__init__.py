"""Tables from records: rows averaged over seeds, ranked, rounded and written."""
