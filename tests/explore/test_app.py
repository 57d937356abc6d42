"""Questions are answered within bounds, and whatever is wrong with one is said in one line."""

import json
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from cofi_dist.explore.app import MOST_BYTES, PAGE, build_app
from cofi_dist.explore.explored import ExploredModel
from cofi_dist.explore.workers import Workers
from tests.explore.conftest import EVIL

MINE = [{"item": "101", "value": 5}, {"item": "107", "value": 1.5}]


def said(answer: Any) -> str:
    """The line of an error, which is all of it."""
    (text,) = answer.json().values()
    assert "\n" not in text
    return str(text)


def test_the_page_and_all_that_it_loads_come_from_here(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "http" not in page.text.replace('http-equiv="', "")
    for file in PAGE.iterdir():
        got = client.get(f"/page/{file.name}")
        assert got.content == file.read_bytes()
        assert got.headers["x-content-type-options"] == "nosniff"
        assert "innerHTML" not in got.text
    assert client.get("/page/../app.py").status_code == 404
    assert client.get("/page/%2e%2e/app.py").status_code == 404


def test_questions_are_answered(client: TestClient) -> None:
    described = client.get("/api/models").json()
    assert [model["feedback"] for model in described["models"]] == ["explicit", "implicit"]
    assert [model["strengths"] for model in described["models"]] == [False, True]
    assert (described["models"][0]["highest"], described["models"][1]["highest"]) == (5.0, None)
    assert client.get("/api/search", params={"q": "onerror"}).json()["items"][0]["title"] == EVIL
    assert len(client.post("/api/recommend", json={"ratings": MINE, "k": 3}).json()["items"]) == 3
    why = client.post("/api/explain", json={"ratings": MINE, "item": "102", "model": 1}).json()
    assert len(why["ratings"]) == 2
    assert len(client.get("/api/similar", params={"item": 101, "k": 3}).json()["items"]) == 3
    assert len(client.get("/api/map", params={"item": 101, "k": 3, "model": 1}).json()["items"]) == 4
    assert client.get("/api/history", params={"user": "u0001", "k": 1}).json()["total"] > 1
    assert client.get("/api/users", params={"q": "u001"}).json() == {"users": ["u0010", "u0011"]}


ASKED: list[tuple[str, dict[str, Any], int, str]] = [
    ("search", {"q": "x" * 201}, 400, "q: String should have at most 200 characters"),
    ("search", {"limit": "101"}, 400, "limit: Input should be less than or equal to 100"),
    ("search", {"limti": "1"}, 400, "limti: Extra inputs are not permitted"),
    ("map", {"item": "101", "k": "61"}, 400, "k: Input should be less than or equal to 60"),
    ("similar", {}, 400, "item: Field required"),
    ("similar", {"item": "7"}, 404, "ratings has no item 7"),
    ("similar", {"item": "101", "model": "2"}, 400, "model: Input should be less than or equal to 1"),
    ("history", {"user": "u0001", "model": "1"}, 404, "this model has come without its ratings"),
    ("no/such", {}, 404, "Not Found"),
    ("recommend", {}, 405, "Method Not Allowed"),
]


@pytest.mark.parametrize(("path", "query", "status", "text"), ASKED)
def test_a_wrong_question_is_told(
    path: str, query: dict[str, str], status: int, text: str, client: TestClient
) -> None:
    answer = client.get(f"/api/{path}", params=query)
    assert answer.status_code == status
    assert said(answer).startswith(text)


TOLD: list[tuple[Any, int, str]] = [
    ({}, 400, "give one of user and ratings"),
    ({"user": "u0001", "ratings": MINE}, 400, "give one of user and ratings"),
    ({"ratings": []}, 400, "ratings: List should have at least 1 item"),
    ({"ratings": [*MINE, *MINE]}, 400, "item 101 is rated twice; leave one rating"),
    ({"ratings": [{"item": "101", "value": 6}]}, 400, "the rating of item 101, 6, is outside the training"),
    ({"ratings": [{"item": "7", "value": 3}]}, 400, "the model does not know this item"),
    ({"ratings": [{"item": "101", "value": -1}], "model": 1}, 400, "item 101: "),
    ({"ratings": MINE * 251}, 400, "ratings: List should have at most 500 items"),
    ({"user": "zoe"}, 404, "ratings has no user zoe"),
    ({"user": "u0001", "k": 2.5}, 400, "k: Input should be a valid integer"),
    ([], 400, "Input should be an object"),
]


@pytest.mark.parametrize(("question", "status", "text"), TOLD)
def test_a_wrong_body_is_told(question: Any, status: int, text: str, client: TestClient) -> None:
    answer = client.post("/api/recommend", json=question)
    assert answer.status_code == status, answer.text
    assert said(answer).startswith(text)


def test_only_json_of_some_size_is_read(client: TestClient) -> None:
    """A form of another page is no JSON, and a browser asks us before it sends JSON from there."""
    body = json.dumps({"ratings": MINE}).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        assert client.post("/api/recommend", content=body, headers={"content-type": kind}).status_code == 415
    preflight = client.options("/api/recommend", headers={"origin": "http://evil.example"})
    assert preflight.status_code == 405
    assert "access-control-allow-origin" not in preflight.headers
    large = client.post(
        "/api/recommend", content=b" " * (MOST_BYTES + 1), headers={"content-type": "application/json"}
    )
    assert large.status_code == 413


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost:1", "LOCALHOST", "[::1]:1", "127.9.9.9"])
def test_its_own_names_are_answered(host: str, client: TestClient) -> None:
    assert client.get("/api/models", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil:80", "", "192.0.2.7", "[::2]", "[", "1"],
)
def test_a_host_that_is_not_this_server_is_refused(host: str, client: TestClient) -> None:
    """DNS rebinding: the name of another page that points here."""
    for path in ("/", "/api/models", "/page/main.js"):
        answer = client.get(path, headers={"host": host})
        assert answer.status_code == 403
        assert said(answer).startswith("this server is not")


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_question_of_another_page_is_refused_but_its_link_works(site: str, client: TestClient) -> None:
    """A picture on it whose address is a question; browsers let no page choose this header."""
    answer = client.get("/api/models", headers={"sec-fetch-site": site})
    assert answer.status_code == 403
    assert said(answer).startswith("another page has asked")
    assert client.get("/", headers={"sec-fetch-site": site}).status_code == 200
    for own in ("same-origin", "none"):
        assert client.get("/api/models", headers={"sec-fetch-site": own}).status_code == 200


def test_a_server_for_others_has_its_names_and_addresses(explored: list[ExploredModel]) -> None:
    app = build_app(explored, explored[0].catalogue, names=["here.example"], loopback=False)
    client = TestClient(app, base_url="http://here.example")
    assert client.get("/api/models").status_code == 200
    assert client.get("/api/models", headers={"host": "192.0.2.7:80"}).status_code == 200
    assert client.get("/api/models", headers={"host": "evil.example"}).status_code == 403


def test_a_busy_server_says_so(explored: list[ExploredModel]) -> None:
    workers, go = Workers(threads=1, waiting=1, seconds=0.05), threading.Event()
    workers._pool.submit(go.wait)
    with TestClient(
        build_app(explored, explored[0].catalogue, workers=workers), base_url="http://127.0.0.1"
    ) as client:
        first, second = (client.get("/api/models") for _ in range(2))
        go.set()
    assert (first.status_code, second.status_code) == (503, 503)
    assert said(first) == "no answer within 0.05 s; ask again, or for less"
    assert said(second) == "too many questions at once; ask again in a second"
    assert second.headers["retry-after"] == "1"


def test_a_bug_is_one_line_for_the_page(
    explored: list[ExploredModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ExploredModel, "similar", lambda *_: 1 // 0)
    app = build_app(explored, explored[0].catalogue)
    client = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
    answer = client.get("/api/similar", params={"item": "101"})
    assert answer.status_code == 500
    assert said(answer).startswith("this is a bug")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
ID = st.sampled_from(["101", "107", "u0001", "", "7", "1e3", "\x00", "-1", "9" * 30]) | st.text(max_size=8)
VALUE = st.floats() | st.integers() | st.none()
RATINGS = st.lists(st.fixed_dictionaries({"item": ID}, optional={"value": VALUE}), max_size=4)
NUMBER = st.integers(-1, 70) | st.integers()
QUESTION = st.fixed_dictionaries(
    {},
    optional={
        "user": ID | JSON,
        "ratings": RATINGS | JSON,
        "item": ID | JSON,
        "model": st.integers(-1, 2) | JSON,
        "k": NUMBER | JSON,
        "min_ratings": NUMBER | JSON,
    },
)
FUZZ = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(path=st.sampled_from(["recommend", "explain"]), body=QUESTION | JSON)
def test_no_body_is_a_bug_of_ours(path: str, body: Any, client: TestClient) -> None:
    """With surrogates, NaN and numbers too large for a float, as Python's own json writes them."""
    raw = json.dumps(body).encode()
    answer = client.post(f"/api/{path}", content=raw, headers={"content-type": "application/json"})
    assert answer.status_code in (200, 400, 404), (body, answer.text)


@FUZZ
@given(raw=st.binary(max_size=60))
def test_no_bytes_are_a_bug_of_ours(raw: bytes, client: TestClient) -> None:
    answer = client.post("/api/recommend", content=raw, headers={"content-type": "application/json"})
    assert answer.status_code in (200, 400, 404)


@FUZZ
@given(
    path=st.sampled_from(["search", "users", "similar", "map", "history"]),
    query=st.dictionaries(
        st.sampled_from(["q", "limit", "item", "user", "model", "k", "min_ratings", "x"]),
        ID | NUMBER.map(str),
        max_size=4,
    ),
)
def test_no_query_is_a_bug_of_ours(path: str, query: dict[str, str], client: TestClient) -> None:
    answer = client.get(f"/api/{path}", params=query)
    assert answer.status_code in (200, 400, 404), (query, answer.text)
