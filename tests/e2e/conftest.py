"""A directory to work in, with a config that trains in no time."""

from pathlib import Path

import pytest

TINY = """
data: {synthetic: {num_users: 30, num_items: 40, num_ratings: 300}}
model: {num_features: 4}
train: {epochs: 20, log_every: 10, lr: 0.01}
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path
