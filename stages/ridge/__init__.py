"""The classical regimes in closed form: ridge regression on random features of real text."""
