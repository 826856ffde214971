"""How it is run: the command line. Flows import stages, never the reverse."""
