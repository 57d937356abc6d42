"""The sources that a config names."""

from pathlib import Path

from cofi_dist.config import ColumnNames, DataSection
from cofi_dist.data.sources.open import open_source, prepare_source


def test_prepare_writes_a_store_for_files_only(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("u,i,r\nann,3,1\n")
    data = DataSection(ratings=str(tmp_path / "r.csv"), columns=ColumnNames(user="u", item="i", rating="r"))
    with prepare_source(data, tmp_path / "store") as ready:
        assert not (tmp_path / "store").exists()
        ready.keep(tmp_path / "store")
    users, items = open_source(data, tmp_path / "store").ids
    assert (users.raw.to_list(), items.raw.to_list()) == (["ann"], [3])
    made_up = DataSection.model_validate({"synthetic": {"num_users": 3, "num_items": 4, "num_ratings": 5}})
    with prepare_source(made_up, tmp_path / "none") as ready:
        ready.keep(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    assert [len(ids) for ids in open_source(made_up, tmp_path).ids] == [3, 4]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.csv", "store"]
