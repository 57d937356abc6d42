"""A changed byte is found when its piece is read, and not before."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cofi_dist.errors import RunError
from cofi_dist.files import piece_sums
from cofi_dist.files.piece_sums import CheckedMap, PieceSums

PIECE = 16


@settings(max_examples=60, deadline=None)
@given(data=st.data(), content=st.binary(min_size=1, max_size=100))
def test_a_changed_byte_is_found_with_its_piece(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, content: bytes
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(piece_sums, "PIECE", PIECE)
        sums, cut = PieceSums(), data.draw(st.integers(0, len(content)))
        sums.update(content[:cut])
        sums.update(memoryview(content[cut:]))
        file = tmp_path_factory.mktemp("pieces") / "file"
        place = data.draw(st.integers(0, len(content) - 1))
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        mapped = CheckedMap(file, sums.hexdigest())
        length = data.draw(st.integers(1, len(content)))
        start = data.draw(st.integers(0, len(content) - length))
        is_read = start // PIECE <= place // PIECE <= (start + length - 1) // PIECE
        if is_read:
            with pytest.raises(RunError, match="file: its content is not what was written"):
                mapped.require(np.array([start]), length)
        else:
            mapped.require(np.array([start]), length)


def test_the_checksums_of_another_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    with pytest.raises(ValueError, match="another size than its checksums"):
        CheckedMap(tmp_path / "file", "0" * 32)
