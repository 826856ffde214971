"""Validation gates between costly stages, by Great Expectations. The only place that imports it, and lazily.

python -m stages.check tokens
python -m stages.check losses STUDY SCALE
"""
