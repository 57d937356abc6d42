"""Model: factors, id maps, item means and the config they were trained with."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cofi_dist.config import Config, load_config
from cofi_dist.data.ids import IdMap
from cofi_dist.errors import RunError
from cofi_dist.factors import Factors
from cofi_dist.files import whole_directory

FACTORS, CONFIG, USERS, ITEMS = "factors.safetensors", "config.yaml", "users.parquet", "items.parquet"


def save_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """A safetensors file; OSError where it can't be written, as on a full disk."""
    try:
        save_file(tensors, path, metadata)
    except SafetensorError as error:
        raise OSError(str(error)) from error


@dataclass(frozen=True)
class Facts:
    """What a model knows of the ratings it was trained on.

    Attributes:
        global_mean: of the training ratings; the centre of an item that the model does not know.
        lowest, highest: of the training ratings; predictions are clipped to them. Infinite for
            arrays, whose ratings were centred before we saw them.
    """

    global_mean: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class Model:
    """A prediction is `X[i] . W[j] + b[0, j] + c[0, i] + item_means[i]`, clipped to the scale.

    Attributes:
        factors: X (num_items, n), W (num_users, n), b (1, num_users), c (1, num_items) or None,
            on the CPU.
        item_means: what was subtracted from each item's ratings, (num_items,) float64.
        item_counts: training ratings of each item, (num_items,) float64.
        facts: of the training ratings.
        users, items: raw id of each row of W and of X.
        config: what it was trained with.
    """

    factors: Factors
    item_means: Tensor
    item_counts: Tensor
    facts: Facts
    users: IdMap
    items: IdMap
    config: Config

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by its name in the files."""
        named = {"X": self.factors.X, "W": self.factors.W, "b": self.factors.b, "c": self.factors.c}
        means = {"item_means": self.item_means, "item_counts": self.item_counts}
        return {name: t for name, t in {**named, **means}.items() if t is not None}

    def save(self, directory: Path) -> None:
        """Write the model; the directory appears whole or not at all.

        Raises:
            RunError: the directory exists or can't be written.
        """
        facts = {name: json.dumps(value) for name, value in asdict(self.facts).items()}
        with whole_directory(directory) as temporary:
            save_tensors(self.tensors, temporary / FACTORS, facts)
            self.users.save(temporary / USERS)
            self.items.save(temporary / ITEMS)
            (temporary / CONFIG).write_text(self.config.to_yaml(), encoding="utf-8")

    @classmethod
    def load(cls, directory: str | Path) -> "Model":
        """Read what `save` wrote.

        Args:
            directory: the model's own, or that of a run, which holds it.

        Raises:
            RunError: no model there, or one of its files isn't what it should be.
        """
        directory = Path(directory)
        if (directory / "model" / FACTORS).exists():
            directory = directory / "model"
        tensors, facts = _read(directory / FACTORS)
        factors = Factors(tensors["X"], tensors["W"], tensors["b"], tensors.get("c"))
        means, counts = tensors["item_means"], tensors["item_counts"]
        users, items = IdMap.load(directory / USERS), IdMap.load(directory / ITEMS)
        shapes = (len(factors.X), len(factors.W), factors.b.numel(), len(means), len(counts))
        if shapes != (len(items), len(users), len(users), len(items), len(items)):
            raise RunError(f"{directory}: the id maps don't fit the factors; the model is damaged")
        return cls(factors, means, counts, facts, users, items, load_config(directory / CONFIG))


def _read(file: Path) -> tuple[dict[str, Tensor], Facts]:
    try:
        with safe_open(file, framework="pt") as opened:
            tensors: dict[str, Tensor] = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            metadata = opened.metadata() or {}
        for name in ("X", "W", "b", "item_means", "item_counts"):
            if name not in tensors:
                raise RunError(f"{file}: has no tensor {name!r}")
        facts = Facts(*(json.loads(metadata[name]) for name in ("global_mean", "lowest", "highest")))
    except FileNotFoundError:
        raise RunError(f"{file}: no such file; is this the directory of a finished run?") from None
    except (OSError, SafetensorError) as error:
        raise RunError(f"{file}: cannot be read: {error}") from None
    except (KeyError, ValueError) as error:
        raise RunError(f"{file}: has no fact {error}; was it written by an older version?") from None
    return tensors, facts
