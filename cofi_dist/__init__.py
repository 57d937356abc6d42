"""Train and use collaborative filtering models: the notebook's cost, exactly, on any number of ranks."""

from typing import TYPE_CHECKING, Any

from cofi_dist.version import __version__

if TYPE_CHECKING:
    from cofi_dist.fitting.fit import fit
    from cofi_dist.model import Model

    load = Model.load

__all__ = ["Model", "__version__", "fit", "load"]


def __getattr__(name: str) -> Any:
    """Import what is asked for: torch and the rest take seconds, which `import cofi_dist` does not."""
    if name == "fit":
        from cofi_dist.fitting.fit import fit

        return fit
    if name in ("Model", "load"):
        from cofi_dist.model import Model

        return Model if name == "Model" else Model.load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
