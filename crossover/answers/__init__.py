"""Answers about recipes: which wins, where they cross, and which runs to make next."""
