"""What is told of cells while they train: a journal for `crossover watch`, and the tools that people have open."""
