"""Two commits of results, compared: what moved, what is within noise, and what cannot be compared."""
