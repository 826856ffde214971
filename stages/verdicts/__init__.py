"""Claims as machine-checked verdicts: a measurement from the tables, judged against a tolerance stated before."""
