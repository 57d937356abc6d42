"""A vector index of the items that ranks them as the model does."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.errors import ConfigError

if TYPE_CHECKING:
    from cofi_dist.model.model import Model


def build_index(model: "Model") -> Any:
    """A usearch index of `[x_i, item_mean_i + c_i]`, key i = row of X, by inner product.

    The item mean is a dimension more, so the inner product with a user's `[w_j, 1]` is the score
    but for b_j, which is the same for all items: the index ranks as `recommend` does. What it
    calls distance is 1 - that product.

    Returns:
        usearch.index.Index with num_features + 1 dimensions, float32.

    Raises:
        ConfigError: usearch is not installed.
    """
    try:
        from usearch.index import Index
    except ImportError:
        raise ConfigError("an index needs usearch; pip install 'cofi-dist[index]'") from None
    side = model.item_side
    vectors = np.column_stack([side.X.numpy(), side.offset.numpy()]).astype(np.float32)
    index = Index(ndim=vectors.shape[1], metric="ip", dtype="f32")
    # one thread: the graph, and so what it finds, would depend on their order
    index.add(np.arange(len(vectors)), vectors, threads=1)
    return index


def index_query(w: Tensor) -> NDArray[np.float32]:
    """What to ask the index for a user's, or several users', weights: (..., n) -> (..., n + 1)."""
    array: NDArray[np.float32] = np.concatenate([w.numpy(), np.ones((*w.shape[:-1], 1))], axis=-1).astype(
        np.float32
    )
    return array
