"""A tracker that is not installed is refused in one line, before anything is touched."""

from pathlib import Path

import pytest

from cofi_dist.config.train_section import TrainSection
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.errors import ConfigError
from cofi_dist.run.train import train
from cofi_dist.trackers.catalog import PACKAGES, require_installed
from cofi_dist.trackers.tracker import CLASSES


def test_the_config_knows_the_trackers() -> None:
    assert set(PACKAGES) == set(CLASSES)
    assert TrainSection.model_validate({"loggers": list(PACKAGES)}).loggers == list(PACKAGES)


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("tensorboard", "TensorBoard"),
        ("mlflow", "MLflow and SQLAlchemy and Alembic"),
        ("wandb", "Weights & Biases"),
    ],
)
def test_a_missing_package_is_one_line(name: str, needs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError) as raised:
        require_installed([name])
    assert str(raised.value) == (
        f"train.loggers: {name} needs {needs}: pip install 'cofi-dist[{name}]', or leave it out"
    )


def test_nothing_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("data: {synthetic: {}}\n")
    monkeypatch.setitem(PACKAGES, "mlflow", {"no_such_package": "MLflow"})
    with pytest.raises(ConfigError, match="mlflow needs MLflow: pip install"):
        train(file, ["train.loggers=[mlflow]", f"run_dir={tmp_path / 'run'}"], SoloComm())
    assert not (tmp_path / "run").exists()
