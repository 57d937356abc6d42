"""The data of each rank, and what all ranks agree on."""

from pathlib import Path

import numpy as np
import torch

from cofi_dist.config import Config
from cofi_dist.distributed.comm import Comm, SoloComm
from cofi_dist.testing import run_ranks
from cofi_dist.training.problem import load_problem

CPU = torch.device("cpu")
CONFIG = Config.model_validate(
    {
        "data": {"synthetic": {"num_users": 30, "num_items": 20, "num_ratings": 200}, "centre": "item_mean"},
        "run_dir": "none",
    }
)


def _loaded(comm: Comm) -> tuple[tuple[int, int], list[int], list[float], list[float], str, int]:
    problem, shard = load_problem(CONFIG, Path("none"), CPU, comm)
    assert len(shard.ratings) == problem.user_counts.sum(), "the shard has this rank's ratings alone"
    users, means = problem.users, problem.item_offsets.tolist()
    counts, items = problem.user_counts.tolist(), problem.item_sums.count.tolist()
    return (users.start, users.stop), counts, items, means, problem.fingerprint, problem.num_ratings


def test_ranks_share_the_users_and_agree_on_the_items(tmp_path: Path) -> None:
    (_, counts, items, means, fingerprint, number) = _loaded(SoloComm())
    assert number == 200 == sum(counts) == sum(items)
    ranks = run_ranks(3, _loaded, tmp=tmp_path)
    assert [n for rank in ranks for n in rank[1]] == counts
    assert [rank[0][0] for rank in ranks] == [0, *(rank[0][1] for rank in ranks[:-1])]
    for rank in ranks:
        assert rank[2] == items
        np.testing.assert_allclose(rank[3], means, rtol=1e-12)
        assert rank[4:] == (fingerprint, number)


def test_mps_has_no_float64() -> None:
    config = CONFIG.model_copy(update={"train": CONFIG.train.model_copy(update={"dtype": "float64"})})
    dtypes = [
        load_problem(config, Path("none"), torch.device(device), SoloComm())[0].dtype
        for device in ("cpu", "mps")
    ]
    assert dtypes == [torch.float64, torch.float32]
