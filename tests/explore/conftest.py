"""Two made-up models, one of ratings and one of events, and the page's application for them."""

import math
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from cofi_dist.explore.app import build_app
from cofi_dist.explore.catalogue import Catalogue
from cofi_dist.explore.explored import ExploredModel
from tests.support.models import made_up, rated_halves

EVIL = "<img src=x onerror=alert(1)>"
TITLES = {
    "100": EVIL,
    "101": "Amélie (2001)",
    "102": "The Long Walk",
    "103": "A Walk to the Sea",
    "104": "Sea of Long Walks",
}


@pytest.fixture(scope="session")
def explored(tmp_path_factory: pytest.TempPathFactory) -> list[ExploredModel]:
    folder = tmp_path_factory.mktemp("explored")
    of_ratings = made_up(folder)
    of_events = made_up(folder, 12, 30, "data.feedback=implicit", "train.alpha=5", seed=1)
    assert math.isinf(of_events.facts.highest)
    of_ratings.item_counts[9] = 0
    of_ratings.user_counts[11] = 0
    rated = rated_halves(of_ratings, 200)
    catalogue = Catalogue([of_ratings, of_events], TITLES)
    first = ExploredModel.open("ratings", replace(of_ratings, ratings=rated), catalogue)
    return [first, ExploredModel.open("events", of_events, catalogue)]


@pytest.fixture
def client(explored: list[ExploredModel]) -> TestClient:
    return TestClient(build_app(explored, explored[0].catalogue), base_url="http://127.0.0.1:1")
