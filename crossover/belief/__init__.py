"""What runs say about a law along scale: its posterior."""
