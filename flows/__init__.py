"""How it is run: Prefect, DVC, and the commands of a checkout. Flows import stages, never the reverse."""
