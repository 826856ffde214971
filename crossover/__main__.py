"""`python -m crossover`: the command line."""

from crossover.cli.app import main

if __name__ == "__main__":
    main()
