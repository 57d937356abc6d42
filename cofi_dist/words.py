"""Write counts with their nouns, for messages."""


def counted(number: int, noun: str) -> str:
    """Write a number with its noun: 1 user, 12,345 users.

    Args:
        number: the count, of any integer type.
        noun: the singular. Its plural ends in `s`; in `kind of x`, the first word gets the `s`.
    """
    if number != 1:
        first, of, rest = noun.partition(" of ")
        noun = f"{first}s{of}{rest}"
    return f"{number:,} {noun}"


def have(number: int) -> str:
    """Return `has` for one and `have` for any other number."""
    return "has" if number == 1 else "have"


def none_known(number: int, noun: str) -> str:
    """Say that a model knows none of so many users or items."""
    if number == 1:
        return f"the model does not know this {noun}; is it an id of its data?"
    return f"the model knows none of these {counted(number, noun)}; are they ids of its data?"
