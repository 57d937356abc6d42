"""The templates are in the package, and slurm/ leads to them, so that no script exists twice."""

from pathlib import Path

from cofi_dist.slurm.render import TEMPLATES

ROOT = Path(__file__).parents[2]
NAMES = {"train.sbatch", "train_requeue.sbatch", "sweep.sbatch"}


def test_what_users_submit_are_the_packaged_templates() -> None:
    assert {file.name for file in TEMPLATES.iterdir()} == NAMES
    assert {file.name for file in (ROOT / "slurm").iterdir()} == NAMES
    for name in NAMES:
        assert (ROOT / "slurm" / name).resolve() == ROOT / "cofi_dist/slurm/templates" / name
        assert not (ROOT / "cofi_dist/slurm/templates" / name).is_symlink(), "archives may lose links"
