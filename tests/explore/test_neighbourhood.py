"""The map keeps what most tells the directions of items apart."""

from typing import Any

import numpy as np
import pytest

from cofi_dist.explore.neighbourhood import on_a_plane


def test_directions_on_a_plane_keep_their_distances() -> None:
    rng = np.random.default_rng(0)
    angles = rng.uniform(0, 2 * np.pi, 9)
    flat = np.column_stack([np.cos(angles), np.sin(angles)])
    turned = flat @ np.linalg.qr(rng.normal(size=(5, 5)))[0][:2] * rng.uniform(1, 9, 9)[:, None]
    places, share = on_a_plane(turned)
    assert share == pytest.approx(1)
    ratio = np.linalg.norm(places[1:] - places[0], axis=1) / np.linalg.norm(flat[1:] - flat[0], axis=1)
    np.testing.assert_allclose(ratio, ratio[0])
    assert np.abs(places).max() == pytest.approx(1)


def test_the_share_is_the_part_of_the_variance() -> None:
    features = np.vstack([np.eye(4), -np.eye(4)])
    assert on_a_plane(features)[1] == pytest.approx(0.5), "two of four equal axes"


@pytest.mark.parametrize("features", [np.ones((1, 3)), np.ones((4, 1)), np.array([[2.0], [-1.0]])])
def test_few_items_or_features_have_places_too(features: np.ndarray[Any, Any]) -> None:
    places, share = on_a_plane(features)
    assert places.shape == (len(features), 2)
    assert np.isfinite(places).all()
    assert share == pytest.approx(1)
