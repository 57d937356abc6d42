"""Every number is read as the number that it is, and text that is written is read as text."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cofi_dist.config.strict_yaml import parse, to_yaml

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@given(FLOATS, st.sampled_from(["{!r}", "{:g}", "{:.17g}", "{:e}", "{:E}", "{:+.3e}"]))
def test_every_number_is_read_as_the_number_that_it_is(value: float, form: str) -> None:
    text = form.format(value)
    for read in (
        parse(text),
        parse(f"[{text}]")[0],
        parse(f"k: {text}  # why")["k"],
        parse(f"{{k: {text}}}")["k"],
    ):
        assert isinstance(read, float | int)
        assert read == float(text)
    for quoted in (f"'{text}'", f'"{text}"'):
        assert parse(quoted) == text


@pytest.mark.parametrize("text", ["1e", "e4", "1e-", "1e4x", "1e 4", "1e4.5", "e", "1-4", "0x1e-4", "1_0e3"])
def test_what_is_not_quite_a_number_is_text(text: str) -> None:
    assert parse(text) == text


@given(st.from_regex(r"[-+.0-9_eExob: ]{1,8}", fullmatch=True) | st.text(max_size=8))
def test_text_that_is_written_is_read_as_text(text: str) -> None:
    assume(text.isprintable())
    for one_line in (True, False):
        assert parse(to_yaml({"key": text}, one_line=one_line)) == {"key": text}
