"""Who hears of the first compilation; here, since whoever wants to need not import the compiler."""

from collections.abc import Callable


class FirstCompiled:
    """The one that is called before the first loop that has to be compiled."""

    _tell: Callable[[], None] | None = None

    @classmethod
    def hear(cls, tell: Callable[[], None]) -> None:
        """Have `tell` called once."""
        cls._tell = staticmethod(tell)

    @classmethod
    def say(cls) -> None:
        """A loop is about to be compiled."""
        tell, cls._tell = cls._tell, None
        if tell is not None:
            tell()
