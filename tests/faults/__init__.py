"""Faults put into real runs: what is killed, filled up, flipped or swapped must leave the results as they are."""
