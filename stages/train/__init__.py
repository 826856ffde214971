"""Training one cell: optimizer, schedule, batches, the loop, checkpoints."""
