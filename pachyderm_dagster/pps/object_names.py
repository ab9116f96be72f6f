"""Names that objects have on Kubernetes, and here: DNS subdomains."""

import re

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
NAME_RULE = "small letters, digits, '-' and '.', and begins and ends with a letter or digit, before and behind each '.' too"
"""What a name takes, for messages."""


def is_object_name(text: str, most: int) -> bool:
    """Whether an object can have that name, of so many characters at most."""
    return len(text) <= most and _NAME.fullmatch(text) is not None
