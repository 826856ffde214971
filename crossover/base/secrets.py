"""Passwords and tokens in what is printed, logged or sent: a URL names its host and path, and nobody's key."""

import re

_IN_URL = re.compile(r"(?<=://)[^/\s@'\"]+@")
_IN_QUERY = re.compile(r"(?i)\b((?:access_?key|secret|token|password|passwd|sig|signature|auth\w*)=)[^&\s'\"]+")


def masked(text: str) -> str:
    """The text with `***` in the place of user, password and token of every URL.

    >>> masked("git push https://me:ghp_abc@example.com/x.git?token=1 failed")
    'git push https://***@example.com/x.git?token=*** failed'
    """
    return _IN_QUERY.sub(r"\1***", _IN_URL.sub("***@", text))
