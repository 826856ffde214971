"""The commands on anybody's runs, and the one place where a project's own commands join."""
