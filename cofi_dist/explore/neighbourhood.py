"""Draw an item and its neighbours on a plane, by principal component analysis."""

import numpy as np
from numpy.typing import NDArray

# N items, K features.


def on_a_plane(features: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return the places of items on the plane that keeps most of the differences between their directions.

    Only directions count, as they do for the cosine that makes items neighbours.

    Args:
        features: of the items, (N, K); each row has a direction.

    Returns:
        The places, (N, 2), between -1 and 1; and the part of the variance that the plane keeps, which is 1 if
        all items have the same direction.
    """
    direction = features / np.linalg.norm(features, axis=1)[:, None]
    centred = direction - direction.mean(axis=0)
    left, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    # an axis may point either way: its largest loading is positive, so that a picture is always the same
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)[:, 0]
    places = np.zeros((len(features), 2))
    kept = min(2, len(sizes))
    places[:, :kept] = (left * sizes * np.where(largest < 0, -1.0, 1.0))[:, :kept]
    variance = sizes**2
    share = float(variance[:2].sum() / variance.sum()) if variance.sum() > 0 else 1.0
    return places / max(float(np.abs(places).max()), np.finfo(np.float64).tiny), share
