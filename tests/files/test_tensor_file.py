"""What is written here, the safetensors library reads."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from cofi_dist.files import tensor_file
from cofi_dist.files.tensor_file import write_tensors

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
        size, digest = write_tensors(file, tensors)
        assert size == file.stat().st_size
        assert digest == xxhash.xxh3_128(file.read_bytes()).hexdigest()
        read = load_file(file)
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)
