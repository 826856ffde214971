"""Scaling laws: their forms, objectives, solver, fits, intervals, and the optima of sweeps."""
