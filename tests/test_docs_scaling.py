"""docs/scaling.md says what the plan of memory says; one rank of many runs as it does in its benchmark."""

from pathlib import Path

import pytest

from benchmarks.fits import table
from benchmarks.plan import Settings, run_rank

SCALING = Path(__file__).parents[1] / "docs/scaling.md"


def test_the_table_of_what_fits_is_the_plans() -> None:
    _, section = SCALING.read_text().split("<!-- begin fits -->")
    section, _ = section.split("<!-- end fits -->")
    assert [line for line in section.splitlines() if line.startswith("|")] == table(), (
        "python -m benchmarks --data FOLDER --only fits --write-docs puts it there"
    )


@pytest.mark.parametrize("optimizer", ["adam", "als"])
@pytest.mark.parametrize("kept", ["replicated", "sharded"])
def test_one_rank_of_many_trains_alone(optimizer: str, kept: str) -> None:
    settings = Settings(
        ratings=40_000,
        users=800,
        items=600,
        features=8,
        world_size=4,
        rank=1,
        bandwidth=1e9,
        latency=1e-4,
        epochs=4,
        optimizer=optimizer,
        kept=kept,
    )
    seen = run_rank(settings)
    assert seen["ratings"] == 10_000
    # at least X is gathered once and its gradient scattered, or both at once in a sum
    assert seen["sent"] >= 2 * 3 / 4 * 4 * settings.items * settings.features
    assert 0 <= seen["waited"] <= seen["modelled"]
