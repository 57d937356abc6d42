"""What is written here, the safetensors library reads, and the other way round."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from cofi_dist.files import tensor_file
from cofi_dist.files.tensor_file import map_tensors, write_tensors
from cofi_dist.files.tensor_header import read_header

NAMES = st.dictionaries(
    st.sampled_from(["W", "W.mean", "b", "X.best", "c"]),
    st.tuples(
        st.lists(st.integers(0, 7), min_size=1, max_size=2), st.sampled_from([torch.float32, torch.float64])
    ),
)


@given(NAMES, st.integers(1, 64))
def test_the_library_reads_what_is_written(
    about: dict[str, tuple[list[int], torch.dtype]], piece: int
) -> None:
    tensors = {name: torch.randn(*shape, dtype=dtype) for name, (shape, dtype) in about.items()}
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensor_file, "SLICE", piece)
        file = Path(folder) / "rows.safetensors"
        size, digest = write_tensors(file, {name: tensor.numpy() for name, tensor in tensors.items()})
        assert size == file.stat().st_size
        assert digest == xxhash.xxh3_128(file.read_bytes()).hexdigest()
        read = load_file(file)
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)


def test_what_the_library_writes_is_mapped(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    written = {"c": torch.randn(1, 3), "W": torch.randn(4, 2, dtype=torch.float64), "b": torch.randn(5)}
    save_file(written, file, metadata={"lowest": "0.5"})
    before, arrays = file.read_bytes(), map_tensors(file, read_header(file)[0])
    assert {name: array.dtype for name, array in arrays.items()} == {"c": "f4", "W": "f8", "b": "f4"}
    for name, array in arrays.items():
        assert np.array_equal(array, written[name].numpy())
        array[0] = 7  # of this process alone
    assert file.read_bytes() == before


def test_tensors_that_lie_at_any_byte_are_mapped(tmp_path: Path) -> None:
    file = tmp_path / "odd.safetensors"
    text = b'{"b": {"dtype": "F64", "shape": [2], "data_offsets": [0, 16]}}'
    file.write_bytes((len(text) + 1).to_bytes(8, "little") + text + b" " + np.array([1.5, -2.0]).tobytes())
    (array,) = map_tensors(file, read_header(file)[0]).values()
    assert array.flags.aligned
    assert array.tolist() == [1.5, -2.0]
