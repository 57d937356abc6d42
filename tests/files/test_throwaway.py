"""A throwaway directory is gone afterwards; if there is no place for one, a line says so."""

import tempfile

import pytest

from cofi_dist.errors import ConfigError
from cofi_dist.files.throwaway import throwaway_directory


def test_it_is_removed_with_what_is_in_it() -> None:
    with pytest.raises(KeyboardInterrupt), throwaway_directory() as made:
        (made / "file").write_text("x")
        raise KeyboardInterrupt
    assert not made.exists()


def test_without_a_place_one_line_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with pytest.raises(ConfigError, match=r"^TMPDIR: no temporary directory can be made \(.*\); set it to"):
        throwaway_directory().__enter__()
