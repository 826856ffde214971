"""Figures and the page. Run as `python -m stages.report`; it reads only the small results below data/results."""
