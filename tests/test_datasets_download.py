"""Downloads: from a server on this machine, into a temporary cache; nothing here reaches the network."""

from __future__ import annotations

import gc
import hashlib
import importlib.util
import json
import re
import socket
import threading
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from studies.arrays import folder

from bayesglm import _catalogue, _download, _loaders, datasets

pytest.importorskip("pooch", reason="downloads want pooch: pip install 'bayesglm[data]'")
GOOD = json.dumps({"x": [1.0, 2.0, 3.0], "y": [0, 1, 1]}).encode()
OTHER = json.dumps({"toy": {"a": 1}}).encode()


class Handler(BaseHTTPRequestHandler):
    """Answers "/whole", "/other", "/changed"; "/broken" stops half way, "/gone" is not there."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        body = {"/whole": GOOD, "/other": OTHER, "/changed": b"other bytes", "/broken": GOOD}.get(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write((body or b"")[: len(GOOD) // 2] if self.path == "/broken" else body or b"")

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture(scope="module")
def server():
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.asked = []
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_port}"
    made.shutdown()
    made.server_close()


@pytest.fixture
def sockets():
    """A transfer that breaks leaves its socket to the garbage collector, which would warn of it during some other test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def toy(server, sockets, tmp_path, monkeypatch):
    """Enters the data set "toy" of one file or more, at the paths given; returns the folder of the cache."""
    monkeypatch.delenv(datasets.ENVIRONMENT, raising=False)
    for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
        monkeypatch.delenv(proxy.lower(), raising=False)
    monkeypatch.setattr(_download, "cache", lambda: tmp_path / "cache")
    Handler.asked.clear()

    def enter(*paths: str, base: str = server) -> Path:
        files = ("toy.json", "reference.json")
        bodies = (GOOD, OTHER)
        sources = tuple(_download.Source(base + path, hashlib.sha256(body).hexdigest()) for path, body in zip(paths, bodies, strict=True))
        made = _catalogue.DataSet("a toy", _loaders.rows_and_reference, files, "toys", "Nobody 2026, MIT", sources=sources)
        monkeypatch.setitem(_catalogue.SETS, "toy", made)
        return tmp_path / "cache" / "toys"

    return enter


def kept(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir()) if place.is_dir() else []


def test_a_set_is_downloaded_once_and_says_whose_it_is(toy, capsys):
    place = toy("/whole", "/other")
    first = datasets.load("toy")
    said = capsys.readouterr()
    assert first["x"].values.tolist() == [1.0, 2.0, 3.0] and (first.attrs["licence"], first.attrs["source"]) == ("MIT", "posteriordb (BSD-3)")
    assert "Nobody 2026, MIT" in said.out and str(place) in said.out and "100%" in said.err
    assert kept(place) == ["reference.json", "toy.json"] and Handler.asked == ["/whole", "/other"]
    assert datasets.load("toy").identical(first)
    assert Handler.asked == ["/whole", "/other"] and capsys.readouterr() == ("", "")


def test_without_progress_nothing_is_printed(toy, capsys):
    toy("/whole", "/other")
    datasets.load("toy", progress=False)
    assert capsys.readouterr() == ("", "")


def test_a_damaged_copy_is_fetched_again(toy):
    place = toy("/whole", "/other")
    datasets.load("toy", progress=False)
    (place / "toy.json").write_bytes(GOOD[:10])
    datasets.load("toy", progress=False)
    assert (place / "toy.json").read_bytes() == GOOD and Handler.asked == ["/whole", "/other", "/whole"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/changed", r"not the toy.json.*SHA-256 is not \w{64}.*thrown away"),
        ("/broken", "could not be downloaded.*nothing of toy.json was kept"),
        ("/gone", "it answers 404"),
    ],
)
def test_what_is_wrong_or_incomplete_is_not_kept(toy, server, path, said):
    place = toy(path, "/other")
    with pytest.raises(datasets.MissingData, match=said) as raised:
        datasets.load("toy", progress=False)
    assert f"fetch {server}{path} in another way" in str(raised.value) and "path=" in str(raised.value)
    assert kept(place) == []


def test_what_failed_half_way_leaves_an_older_copy_alone(toy):
    place = toy("/broken", "/other")
    place.mkdir(parents=True)
    (place / "toy.json").write_bytes(b"older")
    with pytest.raises(datasets.MissingData):
        datasets.load("toy", progress=False)
    assert (place / "toy.json").read_bytes() == b"older" and kept(place) == ["toy.json"]


def test_offline_says_what_to_do(toy):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    toy("/whole", "/other", base=nobody)
    with pytest.raises(datasets.MissingData, match="ConnectionError.*Is this machine online"):
        datasets.load("toy", progress=False)


def test_a_folder_that_cannot_be_written(toy, tmp_path):
    toy("/whole", "/other")
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(datasets.MissingData, match="could not be kept in"):
        datasets.load("toy", progress=False)


def test_without_pooch_the_command_is_named(toy, monkeypatch):
    toy("/whole", "/other")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(datasets.MissingData, match=re.escape("pip install 'bayesglm[data]'")):
        datasets.load("toy")
    assert Handler.asked == []


def test_the_order_of_places(toy, tmp_path, monkeypatch):
    """path= before BAYESGLM_DATA before what is shipped before the cache."""
    places = [tmp_path / name for name in ("stated", "environment/toys", "shipped")]
    cached = toy("/whole", "/other")
    for value, place in enumerate(places):
        place.mkdir(parents=True)
        (place / "toy.json").write_text(json.dumps({"x": [10.0 + value, 0.0]}))
        (place / "reference.json").write_text("{}")

    def first(**how) -> float:
        return float(datasets.load("toy", progress=False, **how)["x"][0])

    assert first() == 1.0 and kept(cached)
    monkeypatch.setitem(_catalogue.SETS, "toy", _catalogue.SETS["toy"]._replace(shipped=lambda: places[2]))
    assert first() == 12.0
    monkeypatch.setenv(datasets.ENVIRONMENT, str(places[1].parent))
    assert first() == 11.0 and first(path=places[0]) == 10.0
    (places[1] / "toy.json").unlink()  # a folder that lacks a file is passed over
    assert first() == 12.0


def test_a_folder_stated_is_never_passed_over(toy, tmp_path):
    toy("/whole", "/other")
    with pytest.raises(datasets.MissingData, match="which has none of that name"):
        datasets.load("toy", tmp_path, progress=False)
    assert Handler.asked == []


def test_addresses_do_not_move_and_every_set_is_accounted_for():
    """A commit in every address; every set is downloaded, or says why not."""
    for name, known in _catalogue.SETS.items():
        if known.sources:
            assert len(known.sources) == len(known.files), name
            assert known.terms, name
        else:
            assert re.search("nothing downloads it|may not be passed on", known.advice()), name
        for source in known.sources:
            assert re.fullmatch(r"https://raw\.githubusercontent\.com/[\w.-]+/[\w.-]+/[0-9a-f]{40}/[^ ?#]+", source.url)
            assert re.fullmatch(r"[0-9a-f]{64}", source.sha256)


@pytest.mark.parametrize("name", datasets.downloadable())
def test_checksums_are_of_the_files_here(name):
    """The files that the loaders were written for are the ones that would be downloaded."""
    known = _catalogue.SETS[name]
    place = known.shipped() or folder(known.folder)
    for file, source in zip(known.files, known.sources, strict=True):
        assert hashlib.sha256((place / file).read_bytes()).hexdigest() == source.sha256
