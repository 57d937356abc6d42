"""Train and use collaborative filtering models: the notebook's cost, exactly, on any number of ranks."""

from typing import TYPE_CHECKING

from cofi_dist.version import __version__

__all__ = ["Callback", "Model", "__version__", "fit", "load", "tune"]

if TYPE_CHECKING:
    from cofi_dist.fitting.fit import fit
    from cofi_dist.fitting.tune import tune
    from cofi_dist.model import Model
    from cofi_dist.trackers import Callback

    load = Model.load
else:  # type checkers would take any name to be there

    def __getattr__(name: str) -> object:
        """Import what is asked for: torch and the rest take seconds, which `import cofi_dist` does not."""
        if name == "fit":
            from cofi_dist.fitting.fit import fit

            return fit
        if name == "tune":
            from cofi_dist.fitting.tune import tune

            return tune
        if name in ("Model", "load"):
            from cofi_dist.model import Model

            return Model if name == "Model" else Model.load
        if name == "Callback":
            from cofi_dist.trackers import Callback

            return Callback
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__} - {"TYPE_CHECKING"})
