"""Write results as a report: one HTML page that needs no network and no server."""
