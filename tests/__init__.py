"""Tests mirror stages/ and flows/. Each checks behaviour against something independent of the code it tests."""
