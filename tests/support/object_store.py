"""A stand-in for S3 on loopback: moto's server, which the environment variables of a test point to."""

import io
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import boto3
import polars as pl
import pytest
from moto.server import ThreadedMotoServer

_NUMBERS = count()


class Bucket:
    """A bucket of its own name each: polars keeps what it knows of a bucket, its endpoint too."""

    def __init__(self, client: Any, endpoint: str) -> None:
        self.name, self.endpoint, self._client = f"bucket-{os.getpid()}-{next(_NUMBERS)}", endpoint, client
        client.create_bucket(Bucket=self.name)

    def put(self, key: str, content: pl.DataFrame | bytes) -> str:
        """Write a file, and return its URL."""
        if isinstance(content, pl.DataFrame):
            file = io.BytesIO()
            content.write_parquet(file)
            content = file.getvalue()
        self._client.put_object(Bucket=self.name, Key=key, Body=content)
        return self.url(key)

    def url(self, key: str = "") -> str:
        return f"s3://{self.name}/{key}"


@contextmanager
def object_store() -> Iterator[Any]:
    """Yield a function that makes a bucket and sets the environment for it."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=endpoint, **keys)

    def bucket(patch: pytest.MonkeyPatch) -> Bucket:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ENDPOINT_URL", endpoint)
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_REGION", "us-east-1")
        return Bucket(client, endpoint)

    try:
        yield bucket
    finally:
        server.stop()
        client.close()
