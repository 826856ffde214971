"""Bugs planted by hand, one at a time: the tests must notice."""
