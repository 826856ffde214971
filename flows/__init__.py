"""How it is run: the command line today, orchestration around `dvc repro`. Flows import stages, never the reverse."""
