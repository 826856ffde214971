"""`crossover keep` on changes of known worth, and on real runs."""
