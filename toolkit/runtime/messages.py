"""Format counts for messages."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return ``1 image``, ``35,000 images`` and the like; `plural` where it needs more than an s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
