"""The store of finished cells, one folder per fingerprint: who needs them, where else they lie, what may be deleted."""
