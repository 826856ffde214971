"""Tests mirror crossover/, stages/ and flows/. Each checks behaviour against something independent of what it tests."""

import stages  # noqa: F401 (numbers of threads, before numpy is imported)
