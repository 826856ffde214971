"""Broken input by the thousand: every parser answers with a value or with one line of complaint, and soon."""
