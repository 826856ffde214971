"""Questions to a table of runs, one file each: what `import crossover` offers, and what the commands ask."""
