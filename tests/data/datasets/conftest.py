"""A data set and the site that serves it."""

import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer

import pytest

from cofi_dist.data.datasets import download
from cofi_dist.data.datasets.catalog import DataSet
from tests.support.dataset_server import Handler, Site, toy_data_set


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.setenv("no_proxy", "*")
    return Site()


@pytest.fixture
def toy(site: Site) -> Iterator[DataSet]:
    """A data set that the site serves."""
    handler = type("HandlerOfSite", (Handler,), {"site": site})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield toy_data_set(f"http://127.0.0.1:{server.server_port}/toy.zip")
        server.shutdown()
