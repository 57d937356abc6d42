"""What several ranks have learnt is saved in parts, if it is too large for one of them."""

from pathlib import Path

from cofi_dist.config import load_config
from cofi_dist.distributed.comm import Comm, SoloComm
from cofi_dist.model import Model, store
from cofi_dist.run.directory import RunDirectory
from cofi_dist.run.outcome import SharedModel, save_model
from cofi_dist.run.stop import StopRequest
from cofi_dist.run.train import train, train_config
from cofi_dist.run.training_run import Manner
from cofi_dist.testing import run_ranks

CONFIG = """
data: {synthetic: {num_users: 60, num_items: 40, num_ratings: 900}}
model: {num_features: 4, item_bias: true}
train: {epochs: 3, dtype: float64, reduction: invariant}
"""


def _train(comm: Comm, file: Path, tmp: Path) -> None:
    """Train a large model, and one whose items are sharded; save each beside the run's own once more."""
    store.MOST_IN_ONE_FILE = 0
    for name, overrides in (("large", []), ("sharded", ["train.items=sharded", "train.item_block=7"])):
        config = load_config(file, [f"run_dir={tmp / name}", *overrides])
        learnt = train_config(config, RunDirectory(tmp / name), comm, StopRequest(), Manner())
        assert learnt is not None
        assert isinstance(learnt.model, SharedModel)
        save_model(learnt.model, tmp / f"{name} again", comm)
        store.MOST_IN_ONE_FILE = 2**32


def test_ranks_save_in_parts_what_one_process_saves_in_one_file(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    run_ranks(2, _train, tmp_path / "c.yaml", tmp_path, tmp=tmp_path)
    wanted = Model.load(train(tmp_path / "c.yaml", [f"run_dir={tmp_path / 'whole'}"], SoloComm(), quiet=True))
    for name in ("large", "large again", "sharded", "sharded again"):
        found = Model.load(tmp_path / name)
        assert (found.arrays.is_in_parts, wanted.arrays.is_in_parts) == (True, False)
        for letter, array in wanted.arrays.by_name.items():
            assert found.arrays.by_name[letter].tobytes() == array.tobytes(), letter
        assert found.facts == wanted.facts
        assert found.config.model == wanted.config.model
        assert found.users.raw.equals(wanted.users.raw)
