"""Count things in words, for the lines of stages and for the report."""


def counted(count: int, noun: str) -> str:
    """Return a number with its noun in singular or plural: 1 claim, 2 claims."""
    return f"{count} {noun}" + ("" if count == 1 else "s")
