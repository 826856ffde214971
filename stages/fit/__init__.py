"""The stage `fit`: losses of a study -> its comparisons and optima, by the answers of `crossover`."""
