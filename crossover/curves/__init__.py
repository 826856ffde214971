"""Training curves: whether they collapse on one another, and what the curve of a large run should be."""
