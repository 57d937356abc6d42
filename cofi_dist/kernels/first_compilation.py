"""Tell somebody before the first loop is compiled, without importing the compiler."""

from collections.abc import Callable

# What to say when it starts.
COMPILING = "compiling the loops for this processor, once; this takes some seconds"


class FirstCompilation:
    """Call one listener before the first loop of this process that is not in the cache is compiled."""

    _listener: Callable[[], None] | None = None

    @classmethod
    def on_start(cls, listener: Callable[[], None]) -> None:
        """Have `listener` called once, in place of any earlier one."""
        cls._listener = staticmethod(listener)

    @classmethod
    def announce(cls) -> None:
        """Call the listener, if it has not been called yet; the compiler is about to start."""
        listener, cls._listener = cls._listener, None
        if listener is not None:
            listener()
