"""Counts in words, as every message has them."""


def counted(number: int, noun: str) -> str:
    """Write a number with its noun: 1 user, 12,345 users.

    Args:
        number: a whole number, of any integer type.
        noun: in the singular; its plural ends in `s`, which joins its first word where `of` follows.
    """
    if number != 1:
        first, of, rest = noun.partition(" of ")
        noun = f"{first}s{of}{rest}"
    return f"{number:,} {noun}"


def have(number: int) -> str:
    """Write `has` for one, `have` for any other number."""
    return "has" if number == 1 else "have"
