"""Model: factors, id maps, item means and the config they were trained with."""

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cofi_dist.config import Config, load_config
from cofi_dist.data.ids import IdMap
from cofi_dist.errors import RunError
from cofi_dist.factors import Factors
from cofi_dist.files import whole_directory

FACTORS, CONFIG, USERS, ITEMS = "factors.safetensors", "config.yaml", "users.parquet", "items.parquet"


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """A safetensors file; OSError where it can't be written, as on a full disk."""
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        raise OSError(str(error)) from error


@dataclass(frozen=True)
class Model:
    """A prediction is `X[i] . W[j] + b[0, j] + item_means[i]`.

    Attributes:
        factors: X (num_items, n), W (num_users, n), b (1, num_users), on the CPU.
        item_means: what was subtracted from each item's ratings, (num_items,) float64.
        users, items: raw id of each row of W and of X.
        config: what it was trained with.
    """

    factors: Factors
    item_means: Tensor
    users: IdMap
    items: IdMap
    config: Config

    def save(self, directory: Path) -> None:
        """Write the model; the directory appears whole or not at all.

        Raises:
            RunError: the directory exists or can't be written.
        """
        tensors = {
            "X": self.factors.X,
            "W": self.factors.W,
            "b": self.factors.b,
            "item_means": self.item_means,
        }
        with whole_directory(directory) as temporary:
            save_tensors(tensors, temporary / FACTORS)
            self.users.save(temporary / USERS)
            self.items.save(temporary / ITEMS)
            (temporary / CONFIG).write_text(self.config.to_yaml(), encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> "Model":
        """Read what `save` wrote.

        Raises:
            RunError: no model there, or one of its files isn't what it should be.
        """
        file = directory / FACTORS
        try:
            tensors = load_file(file)
            factors = Factors(tensors["X"], tensors["W"], tensors["b"])
            means = tensors["item_means"]
        except FileNotFoundError:
            raise RunError(f"{file}: no such file; is this the directory of a finished run?") from None
        except (OSError, SafetensorError) as error:
            raise RunError(f"{file}: cannot be read: {error}") from None
        except KeyError as error:
            raise RunError(f"{file}: has no tensor {error}") from None
        users, items = IdMap.load(directory / USERS), IdMap.load(directory / ITEMS)
        shapes = (len(factors.X), len(factors.W), factors.b.numel(), len(means))
        if shapes != (len(items), len(users), len(users), len(items)):
            raise RunError(f"{directory}: the id maps don't fit the factors; the model is damaged")
        return cls(factors, means, users, items, load_config(directory / CONFIG))
