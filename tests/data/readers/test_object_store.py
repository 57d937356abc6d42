"""Parquet files in an object store, which a stand-in plays: found and read, and what is wrong is told."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from cofi_dist.config import DataSection
from cofi_dist.data.preparation.store import StoredRatings
from cofi_dist.data.readers import object_store as own
from cofi_dist.data.readers.listing import find_files
from cofi_dist.data.sources.open import prepare_source
from cofi_dist.errors import DataError
from tests.support.object_store import Bucket, object_store
from tests.support.prepared import prepared
from tests.support.ratings_files import random_table, save

TABLE = random_table(seed=6)
Buckets = Callable[[pytest.MonkeyPatch], Bucket]


@pytest.fixture(scope="module")
def buckets() -> Iterator[Buckets]:
    with object_store() as make:
        yield make


@pytest.fixture
def bucket(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    return buckets(monkeypatch)


def fingerprint(given: str | list[str], tmp_path: Path) -> str:
    target = tmp_path / "prepared"
    with prepare_source(DataSection.model_validate({"ratings": given}), target) as ready:
        assert isinstance(ready.source, StoredRatings)
        return ready.source.fingerprint()


def test_parts_in_a_store_have_the_bytes_of_one_file(bucket: Bucket, tmp_path: Path) -> None:
    parts = [TABLE[k * 15 : (k + 1) * 15] for k in range(8)]
    urls = [
        bucket.put(f"parts/year={k % 2}/part-{k:05}.snappy.parquet", part) for k, part in enumerate(parts)
    ]
    for beside in ("_SUCCESS", "_metadata", "_temporary/0/part.parquet", ".hidden.parquet"):
        bucket.put(f"parts/{beside}", TABLE if beside.endswith("parquet") else b"")
    one = bucket.put("one.parquet", TABLE)
    assert find_files(bucket.put("none.parquet", TABLE[:0])), "a file without rows is a file"
    with prepared(save(TABLE, tmp_path / "one.parquet")) as stored:
        want = stored.fingerprint()
    folder = bucket.url("parts")
    for given in (one, folder, f"{folder}/", f"{folder}/**/*.parquet", f"{folder}/year=*/part-*", urls[::-1]):
        assert fingerprint(given, tmp_path) == want, given
    assert [str(file) for file in find_files(folder)] == sorted(urls)
    assert str(find_files(folder.replace("s3:", "s3a:"))[0]).startswith("s3a://")


def test_names_in_a_store_are_names(bucket: Bucket) -> None:
    names = ["a[1].parquet", "a1.parquet", "b c+d%20é.parquet", "noending", "e[1]/p.parquet"]
    urls = {name: bucket.put(f"odd/{name}", TABLE) for name in names}
    for name in names:
        assert [str(file) for file in find_files(urls[name])] == [urls[name]]
    assert [str(file) for file in find_files(bucket.url("odd/e[1]"))] == [urls["e[1]/p.parquet"]]
    assert [str(file) for file in find_files(bucket.url("odd/a[0-9].parquet"))] == [urls["a1.parquet"]]


def test_a_bad_row_names_its_file_and_row(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("r/a.parquet", TABLE[:50])
    url = bucket.put("r/b.parquet", TABLE[50:].with_columns(rating=pl.lit(None, pl.Float64)))
    with pytest.raises(DataError, match=f"^{url}: row 1: there is no rating"):
        fingerprint(bucket.url("r"), tmp_path)
    url = bucket.put("r/b.parquet", TABLE[:1])
    with pytest.raises(DataError, match=rf"^{url}: row 1: user .* rated item .* on row 1 of .*/r/a\.parquet"):
        fingerprint(bucket.url("r"), tmp_path)


def test_what_is_not_there_is_told(bucket: Bucket) -> None:
    bucket.put("text/r.csv", b"userId,movieId,rating\n1,2,3\n")
    bucket.put("delta/a.parquet", TABLE)
    bucket.put("delta/_delta_log/0.json", b"{}")
    for given, says in (
        (bucket.url("none.parquet"), "there is no such file or folder in the store"),
        (bucket.url("none/"), "there is no such file or folder in the store"),
        (bucket.url("text/x*.parquet"), "there is no such file or folder in the store"),
        ("s3://no-such-bucket/r.parquet", "there is no such bucket; is its name right?"),
        ("s3://no-such-bucket/r/", "there is no such bucket; is its name right?"),
        (bucket.url("text"), "cannot be read as Parquet: parquet: File out of specification"),
        (bucket.url("delta"), "is a Delta table, whose log says which of its files count"),
    ):
        with pytest.raises(DataError) as caught:
            find_files(given)
        assert says in str(caught.value)
        assert str(caught.value).startswith(given)
        assert "\n" not in str(caught.value)


def test_missing_credentials_are_told(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # the machine is no cloud's, which would give it credentials
        for name in ("AWS_METADATA_ENDPOINT", "AWS_EC2_METADATA_SERVICE_ENDPOINT"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{closed.getsockname()[1]}")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
        monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
        # in a process of its own: polars keeps credentials that it once had
        code = f"from cofi_dist.data.readers.listing import find_files; find_files({bucket.url('r')!r})"
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert f"DataError: {bucket.url('r')}: there are no credentials; set AWS_ACCESS_KEY_ID" in done.stderr


def test_a_store_that_does_not_answer_is_waited_for_so_long_only(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "ANSWER", "300ms")
    monkeypatch.setattr(own, "TRIES_AGAIN", 0)
    with socket.socket() as silent, socket.socket() as closed:
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        closed.bind(("127.0.0.1", 0))
        for each in (silent, closed):
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{each.getsockname()[1]}")
            since = time.monotonic()
            with pytest.raises(DataError, match="the store does not answer; is the network there"):
                find_files(bucket.url("r/"))
            assert time.monotonic() - since < 60
