"""What `explain` prints: the ratings that contribute most, the rest, and sums that add up."""

from pathlib import Path

import pytest

from cofi_dist.cli.explain import explain
from cofi_dist.model import Model
from tests.support.models import trained

CONFIG = """
data: {synthetic: {num_users: 20, num_items: 15, num_ratings: 100}}
model: {num_features: 2, item_bias: true}
train: {optimizer: als, epochs: 5, log_every: 5}
"""


def amounts(printed: str) -> list[float]:
    return [float(line.split()[0]) for line in printed.splitlines()[1:]]


@pytest.mark.parametrize("feedback", ["explicit", "implicit"])
def test_the_printed_contributions_add_up(
    feedback: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = trained(tmp_path, CONFIG, f"data.feedback={feedback}")
    run, user = tmp_path / "run", 3
    own = set(model.rated().items_of(user))
    item = next(item for item in model.items.raw if item not in own)
    capsys.readouterr()
    explain(run, user=str(user), item=str(item), k=2)
    said = capsys.readouterr()
    assert said.err == ""
    header, *lines = said.out.splitlines()
    noun, value = ("rating", "rating") if feedback == "explicit" else ("event", "strength")
    assert header.split() == ["contribution", value, "movieId"]
    assert lines[2].endswith(f"{len(own) - 2} more {noun}s")
    assert lines[-2].endswith(f"sum: the score of {item}")
    *parts, total, as_trained = amounts(said.out)
    assert sum(parts) == pytest.approx(total, abs=0.005)
    (want,) = Model.load(run).recommend([user], 15).filter(item=item)["score"]
    assert as_trained == pytest.approx(want, abs=0.0006)


def test_titles_and_an_own_item_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = trained(tmp_path, CONFIG)
    item = model.rated().items_of(3)[0]
    titles = tmp_path / "t.csv"
    titles.write_text("".join(["movieId,title\n", *(f"{i},Film {i}\n" for i in range(15))]))
    capsys.readouterr()
    explain(tmp_path / "run", user="3", item=str(item), k=15, titles=titles)
    said = capsys.readouterr()
    assert f"Film {item}" in said.out.splitlines()[-2]
    assert "more ratings" not in said.out
    assert said.err == f"user 3 has rated item {item}, so it contributes to its own score\n"
