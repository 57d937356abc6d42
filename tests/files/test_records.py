"""What a JSON file says is what its record declares, or the mistake is told in words."""

import json
from pathlib import Path

import pytest

from cofi_dist.files.records import Record, read_record


class Facts(Record):
    count: int
    name: str = ""


BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is not JSON"),
    "binary": (bytes(range(256)), "is not UTF-8 text"),
    "cut off": (b'{"count":\n1', "is not JSON: .* in line 2"),
    "nested too deeply": (b"[" * 200_000, "is nested too deeply"),
    "nested in objects": (b'{"a":' * 100_000, "is nested too deeply"),
    "a number without end": (b'{"count": 1%s}' % (b"0" * 9000), "digits"),
    "a key twice": (b'{"count": 1, "count": 2}', "has the key 'count' twice"),
    "a list": (b"[1]", r"holds \[1\], not an object"),
    "null": (b"null", "holds None, not an object"),
    "text for a number": (b'{"count": "1"}', "count: .* valid integer, not '1'"),
    "a truth for a number": (b'{"count": true}', "count: .* valid integer, not True"),
    "NaN for a whole number": (b'{"count": NaN}', "count: .* not nan"),
    "a number for text": (b'{"count": 1, "name": 2}', "name: .* valid string, not 2"),
    "nothing said": (b"{}", "has no count"),
    "a long text": (b'{"count": "%s"}' % (b"x" * 9000), "^.{,200}$"),
    "an escape": (json.dumps({"count": "\x1b[2J\u2028"}).encode(), r"^[ -~]*$"),
}


@pytest.mark.parametrize(("content", "said"), BAD.values(), ids=BAD.keys())
def test_what_is_not_said_as_it_should_be_is_told_in_words(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=said) as error:
        read_record(tmp_path / "file", Facts)
    assert type(error.value) is ValueError
    assert len(str(error.value)) < 250


def test_what_is_right_is_read_and_more_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "file").write_text('{"count": 3, "name": "x", "more": NaN}')
    assert read_record(tmp_path / "file", Facts) == Facts(count=3, name="x")
