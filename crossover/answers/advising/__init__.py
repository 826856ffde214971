"""What to run next: finished runs and candidates, where the answer stands, and the sequence that tells most."""
