"""Tests mirror stages/ and flows/. Each checks behaviour against something independent of the code it tests."""

import stages  # noqa: F401 (numbers of threads, before numpy is imported)
