"""The report: one page that holds everything, says what it could not do, and fits a phone."""

from __future__ import annotations

import re
import shutil
import subprocess
import warnings
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import bayesglm as bg
from bayesglm import basis, family, method
from bayesglm._examine import DesignNote
from bayesglm.cli import main

EMPTY = ("img", "meta", "br")
CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
WIDE, PHONE = 1200, 500  # px; headless Chromium takes no narrower window


class Page(HTMLParser):
    """Tags that balance, images with words, and what a page would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.fetched: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag not in EMPTY:
            self.open.append(tag)
        if tag == "img":
            self.images.append(found)
        self.fetched += [str(found[name]) for name in ("src", "href") if name in found and not str(found[name]).startswith(("#", "data:"))]
        if tag in ("script", "link", "iframe"):
            self.fetched.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def network(rows: int = 1500) -> xr.Dataset:
    """Two cells, the first tuned to a position and driving the second."""
    rng = np.random.default_rng(3)
    position = 50 + 40 * np.sin(np.arange(rows) * 0.013)
    counts = np.zeros((rows, 2), int)
    for t in range(1, rows):
        counts[t] = rng.poisson(np.exp([-1.5 + 1.2 * np.cos((position[t] - 60) / 20), -1.8 + 0.9 * counts[t - 1, 0]]))
    return bg.recording(dt=0.02, spikes=counts, position=position)


@pytest.fixture(scope="module")
def parts() -> tuple[xr.Dataset, xr.Dataset]:
    return bg.split(network(), 0.7, gap=1.0)


@pytest.fixture(scope="module")
def fit(parts: tuple[xr.Dataset, xr.Dataset]) -> bg.Fit:
    lags = basis.RaisedCosine(3, span=0.1)
    model = bg.GLM(bg.Baseline() + bg.Tuning("position", basis.BSpline(5)) + bg.History(lags) + bg.Coupling(lags))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DesignNote)
        return bg.fit(model, parts[0], method.Laplace(num_samples=500), progress=False)


@pytest.fixture(scope="module")
def page(fit: bg.Fit, parts: tuple[xr.Dataset, xr.Dataset], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bg.report(fit, tmp_path_factory.mktemp("report") / "fit.html", parts[1], title="Two <cells>", refit=False, progress=False)


def test_the_page_holds_everything(page: Path) -> None:
    found = Page(page.read_text())
    assert found.open == []
    assert found.fetched == []
    assert len(found.images) >= 6
    assert all(image["alt"] for image in found.images)
    for words in (
        "Two <cells>",
        "The fit converged",
        "functional coupling",
        "StudentT(3, 2.5)",
        "raw",
        "held out",
        "SHA-256",
        "not a synapse",
    ):
        assert words.lower() in found.text.lower(), words
    assert "could not be made" not in found.text


@pytest.mark.slow
def test_with_refits_and_a_comparison(fit: bg.Fit, parts: tuple[xr.Dataset, xr.Dataset], tmp_path: Path) -> None:
    alone = bg.fit(bg.GLM(bg.Baseline() + bg.History(basis.RaisedCosine(3, span=0.1))), parts[0], method.Laplace(num_samples=500), progress=False)
    found = Page(bg.report(fit, tmp_path / "fit.html", parts[1], {"whole": fit, "alone": alone}, progress=False).read_text())
    assert "could not be made" not in found.text
    for words in ("halves", "with drift", "elpd"):
        assert words in found.text


def test_every_term_is_in_the_equation(page: Path) -> None:
    equation = re.search(r'<div class="equation">.*?</div>', page.read_text()).group()
    for term in ("baseline", "position", "history", "coupling"):
        assert term in equation


def test_a_part_that_fails_is_told_and_the_rest_is_there(fit: bg.Fit, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="the part 'Comparison' could not be made"):
        made = bg.report(fit, tmp_path / "fit.html", compare=3, refit=False, progress=False)
    found = Page(made.read_text())
    assert "compare= wants" in found.text
    assert "SHA-256" in found.text


def test_a_point_has_no_bands_and_choices_no_spikes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    data = bg.recording(rows="trial", choice=rng.binomial(1, 1 / (1 + np.exp(-2 * x))), contrast=x)
    model = bg.GLM(bg.Baseline() + bg.Linear("contrast"), family.Bernoulli(), response="choice")
    fit = bg.fit(model, data, "map", progress=False)
    found = Page(bg.report(fit, tmp_path / "choice.html", refit=False, progress=False).read_text())
    assert "there are no bands" in found.text
    assert "The model has no coupling" in found.text
    assert "could not be made" not in found.text


def test_an_old_page_stays_where_a_new_one_cannot_be_written(fit: bg.Fit, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        bg.report(fit, tmp_path / "nowhere" / "fit.html", progress=False)
    with pytest.raises(ValueError, match=r"made by bg\.fit"):
        bg.report("fit.nc", tmp_path / "fit.html", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_the_command(fit: bg.Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = tmp_path / "fit.nc"
    bg.save(fit, saved)
    assert main(["report", str(saved), "--quiet", "--no-refit"]) == 0
    assert capsys.readouterr().out.strip() == str(saved.with_suffix(".html"))
    assert "The fit was saved without its recording" in saved.with_suffix(".html").read_text()
    assert main(["report", str(tmp_path / "other.nc"), "--quiet"]) == 1
    assert "other.nc" in capsys.readouterr().err


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian: apt install chromium)")
@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_nothing_sticks_out_of_the_window(page: Path, tmp_path: Path, width: int) -> None:
    """In a real browser: the document is no wider than its window, and every image is drawn."""
    probe = (
        "<script>document.title = [document.documentElement.scrollWidth, window.innerWidth, "
        "[...document.images].every(image => image.naturalWidth > 0 && image.getBoundingClientRect().right <= window.innerWidth + 1)].join(' ')</script>"
    )
    copy = tmp_path / "probe.html"
    copy.write_text(page.read_text().replace("</body>", f"{probe}</body>"))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    options += ["--disable-component-update", "--disable-sync", "--hide-scrollbars", f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900"]
    shown = subprocess.run([CHROMIUM, *options, "--dump-dom", f"file://{copy}"], capture_output=True, text=True, timeout=60, check=True).stdout
    document, window, drawn = re.search(r"<title>(.*?)</title>", shown).group(1).split()
    assert int(window) == width
    assert int(document) <= width
    assert drawn == "true"
