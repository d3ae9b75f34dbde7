"""The documents: their code runs, their links lead somewhere, their figures are the measured ones."""

from __future__ import annotations

import base64
import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

import bayesglm as bg
from bayesglm import basis, datasets, family, method, prior

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
RESULTS = ROOT / "benchmarks" / "results"
PAGES = [ROOT / "README.md", DOCS / "quickstart.md", DOCS / "glance.md", *sorted(DOCS.glob("howto/*.md")), *sorted(DOCS.glob("background/*.md"))]
EVERY = [*PAGES, ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
AGREES = 0.15  # of a time: another run on the same machine, or rounding

# What a page writes, and what is run in its place: less data, fewer draws. The README's job runs as it is in test_demo.py.
SMALLER = {
    "README.md": {
        "np.arange(0, 120, 0.01)": "np.arange(0, 20, 0.01)",
        "epochs=(0, 120)": "epochs=(0, 20)",
        'method="nuts")': 'method="laplace")',
        "draws=200": "draws=20",
        "bg.check(fit, test)": "bg.check(fit, test, halves=False)",
        '"coupled.html", test)': '"coupled.html", refit=False)',
    },
    "docs/quickstart.md": {
        "bg.fit(model, train) ": "bg.fit(model, train, method.NUTS(num_samples=50, num_chains=2)) ",
        'bg.datasets.load("grasshopper")': 'bg.datasets.load("grasshopper").isel(time=slice(0, 4000))',
    },
    "docs/howto/gpu.md": {
        "num_chains=64, num_samples=60": "num_chains=4, num_samples=20",
    },
    "docs/howto/coming_from.md": {'train, "nuts"': "train, method.NUTS(num_samples=50, num_chains=2)"},
    "docs/howto/sparse.md": {
        "num_samples=300, num_chains=2": "num_warmup=30, num_samples=30, num_chains=1, max_tree_depth=5",
        "horseshoe))": "horseshoe), neurons=['b'])",
    },
}


class Block(NamedTuple):
    """A block of Python, its first line in the page, and why it is not run."""

    code: str
    line: int
    skipped: str


def blocks(page: Path) -> Iterator[Block]:
    """Python blocks; a comment ``<!-- not run: why -->`` on the line before exempts one."""
    text = page.read_text()
    for found in re.finditer(r"(?:<!-- not run: (.+?) -->\n)?```python\n(.*?)```", text, re.DOTALL):
        yield Block(found[2], text[: found.start(2)].count("\n") + 1, found[1] or "")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


WITH_CODE = [page for page in PAGES if any(not block.skipped for block in blocks(page))]


@pytest.fixture(scope="module")
def known():
    """What a page may take for granted: the names of the quickstart, on a small recording of three cells."""
    rng = np.random.default_rng(2)
    rows = 3000
    stimulus, counts = rng.normal(size=rows), np.zeros((rows, 3), int)
    for i in range(1, rows):
        counts[i] = rng.poisson(np.exp(-1.8 + 0.5 * stimulus[i] - counts[i - 1] + [0.0, 0.9 * counts[i - 1, 0], 0.0]))
    data = bg.recording(dt=0.01, spikes=counts, stimulus=stimulus, labels={"neuron": list("abc")})
    train, test = bg.split(data, 0.8, gap=0.3)
    terms = bg.Baseline() + bg.Stimulus("stimulus", basis.RaisedCosine(3, span=0.05)) + bg.History(basis.RaisedCosine(2, span=0.05))
    model = bg.GLM(terms + bg.Coupling(basis.RaisedCosine(2, span=0.05)))
    fit = bg.fit(model, train, method.Laplace(num_samples=200), progress=False)
    modules = {"bg": bg, "basis": basis, "family": family, "method": method, "prior": prior}
    return modules | {"data": data, "train": train, "test": test, "model": model, "fit": fit}


@pytest.mark.parametrize("page", WITH_CODE, ids=name)
@pytest.mark.filterwarnings("ignore::bayesglm._fit.NotConverged", "ignore::bayesglm._prior_check.PriorNote")
def test_the_code_of_a_page_runs(page, known, tmp_path, monkeypatch):
    if "nemos" in page.read_text() and any("import nemos" in block.code for block in blocks(page)):
        pytest.importorskip("nemos")
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    names = dict(known)
    shrunk = dict.fromkeys(SMALLER.get(name(page), {}), 0)
    for block in blocks(page):
        if block.skipped:
            continue
        code = block.code
        for written, run in SMALLER.get(name(page), {}).items():
            shrunk[written] += code.count(written)
            code = code.replace(written, run)
        exec(compile("\n" * (block.line - 1) + code, str(page), "exec"), names)
    plt.close("all")
    assert all(shrunk.values()), f"no longer in {name(page)}: {[written for written, count in shrunk.items() if not count]}"


def test_a_nemos_basis_makes_the_same_columns():
    """What coming_from.md says of ``basis.Table``: lag for lag NeMoS's columns, each divided by its function's largest value."""
    nemos = pytest.importorskip("nemos")
    counts = np.random.default_rng(0).poisson(0.3, 400)
    theirs = nemos.basis.RaisedCosineLogConv(4, window_size=10)
    wanted = np.asarray(theirs.compute_features(counts.astype(float)))[10:]
    kernels = np.asarray(theirs.evaluate_on_grid(10)[1])
    data = bg.recording(dt=0.01, spikes=counts[:, None])
    found = np.asarray(bg.GLM(bg.History(basis.Table(kernels))).resolve(data).design(data).each["own"]["history"])[0, 10:]
    np.testing.assert_allclose(found, wanted / kernels.max(0), atol=1e-5)


def test_what_is_not_run_says_why():
    for page in PAGES:
        for block in blocks(page):
            assert not block.skipped or len(block.skipped) > 10, name(page)


def headings(page: Path) -> set[str]:
    """Anchors of a page, as GitHub and MyST make them."""
    lines = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL).splitlines()
    titles = [line.lstrip("#").strip() for line in lines if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", dict.fromkeys(EVERY), ids=name)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```|`[^`]*`", lambda code: code[0] if code[0].startswith("```{") else "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            where = (page.parent / path).resolve() if path else page
            assert where.exists(), f"{name(page)}: {target}"
            assert not anchor or anchor in headings(where), f"{name(page)}: {target}"
    for target in re.findall(r"\{doc\}`(?:[^`<]*<)?([^`>]+)>?`", page.read_text()):
        where = (DOCS / target[1:] if target.startswith("/") else page.parent / target).with_suffix(".md")
        assert where.exists() or where == DOCS / "notebooks" / "index.md", f"{name(page)}: {target}"  # the gallery is made by the build


def test_every_page_is_in_a_list_of_contents():
    """Pages that no toctree names would be on the site, and nobody would find them."""
    listed = set()
    for page in DOCS.rglob("*.md"):
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.DOTALL):
            listed |= {(page.parent / line).resolve() for line in tree.split() if not line.startswith(":")}
    pages = {page.with_suffix("").resolve() for page in DOCS.rglob("*.md") if "_build" not in page.parts}
    assert pages - listed == {(DOCS / "index").resolve()}


def test_the_api_lists_every_public_name():
    listed = set(re.findall(r"^   ([\w.]+)$", (DOCS / "api.md").read_text(), re.MULTILINE))
    spaces = {"basis": basis, "prior": prior, "family": family, "method": method, "plot": bg.plot, "models": bg.models}
    wanted = {f"{space}.{word}" for space, module in spaces.items() for word in module.__all__}
    wanted |= {word for word in bg.__all__ if word not in spaces and word not in ("datasets", "features", "rsa")}
    wanted |= {f"datasets.{word}" for word in ("load", "available", "downloadable")} | {f"datasets.{word}" for word in dir(datasets) if word.endswith("_twin")}
    assert sorted(wanted - listed) == []


def test_the_page_of_data_sets_names_them_all():
    _, *parts = (DOCS / "howto" / "data.md").read_text().split("\n## ")
    rows = {part.split("\n")[0]: {word for line in re.findall(r"^\| (`.*?) \|", part, re.MULTILINE) for word in re.findall(r"`(\w+)`", line)} for part in parts}
    twins = rows.pop("Simulated twins")
    assert twins == {word for word in dir(datasets) if word.endswith("_twin")}
    assert rows["Downloaded"] == set(datasets.downloadable())
    assert set().union(*rows.values()) == set(datasets.available())


SPEED = {
    "optimum of one neuron": ("map_one", "bayesglm map", "bayesglm fit map", "scikit-learn newton-cholesky tight", "glum tight", "nemos LBFGS tight"),
    "the same with an L1": ("map_l1", "bayesglm map", "bayesglm fit map", "glum tight", "skglm ProxNewton tight", "nemos ProximalGradient"),
    "optima of 20 neurons": ("map_population", "bayesglm map", "bayesglm fit map", "nemos LBFGS tight"),
    "posterior of one neuron, 20,000": ("posterior_small", "bayesglm nuts", "bayesglm hmc", "numpyro default", "numpyro dense_mass", "bambi nutpie"),
    "posterior of one neuron, 100,000": ("posterior_large", "bayesglm hmc single", "bayesglm nuts 250"),
    "posterior of 20 neurons": ("posterior_population", "bayesglm fit hmc single", "bayesglm fit nuts 800"),
}


@pytest.mark.parametrize("label", SPEED)
def test_the_readme_has_the_measured_times(label):
    row, *lines = SPEED[label]
    entries = json.loads((RESULTS / f"{row}.json").read_text())["entries"]
    figure = "rate_cold" if row in ("posterior_small", "posterior_large") else "cold_seconds"
    measured = {f"{entry['who']} {entry['setting']}": entry.get(figure) for entry in entries}
    [stated] = [line.split("|")[2:4] for line in (ROOT / "README.md").read_text().splitlines() if line.startswith(f"| {label}")]
    numbers = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", re.sub(r"[\d.]+ nats|after \d+ s", "", " ".join(stated)))]
    np.testing.assert_allclose(numbers, [measured[line] for line in lines], rtol=AGREES, err_msg="measured again? Then bring the README up to date")


def notebook(path: Path, *cells: dict) -> None:
    path.write_text(json.dumps({"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))


def figure(size: int, width: int, *tags: str) -> dict:
    """A cell that shows a picture of so many bytes, so wide and 100 high."""
    picture = base64.b64encode(bytes(16) + width.to_bytes(4) + (100).to_bytes(4) + bytes(size - 24)).decode()
    return {"cell_type": "code", "metadata": {"tags": list(tags)}, "source": "", "outputs": [{"data": {"image/png": picture}}]}


@pytest.fixture
def gallery():
    spec = importlib.util.spec_from_file_location("gallery", DOCS / "_ext" / "gallery.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_the_gallery_shows_each_notebook(gallery, tmp_path):
    source, target = tmp_path / "notebooks", tmp_path / "pages"
    source.mkdir()
    prose = {
        "cell_type": "markdown",
        "metadata": {},
        "source": ["# Place and speed\n", "\n", "One cell. After [Kramer & Eden](x.md) et al. (2016, *J. Neurosci.* 3. And on) it adds bands.\n", "More.\n"],
    }
    notebook(source / "01_place.ipynb", prose, figure(100, 140), figure(30_000, 140), figure(40_000, 900, "thumbnail"))
    notebook(source / "03_some.ipynb", figure(20_000, 400), figure(30_000, 150), figure(20_000, 100))
    notebook(source / "02_bare.ipynb", {"cell_type": "code", "metadata": {}, "source": "", "outputs": []})
    place, bare, some = gallery.build(source, target)
    assert (place.title, place.about) == ("Place and speed", "One cell. After Kramer & Eden et al. (2016, *J. Neurosci.* 3. And on) it adds bands.")
    assert len(place.picture) == 40_000 and bare.picture is None and bare.title == "02_bare" and len(some.picture) == 30_000
    text = (target / "index.md").read_text()
    assert ":link: 01_place" in text and ":img-top: 01_place.png" in text and "02_bare.png" not in text
    when = (target / "01_place.ipynb").stat().st_mtime_ns
    for gone in ("02_bare", "03_some"):
        (source / f"{gone}.ipynb").unlink()
    gallery.build(source, target)
    assert sorted(path.name for path in target.iterdir()) == ["01_place.ipynb", "01_place.png", "index.md"]
    assert (target / "01_place.ipynb").stat().st_mtime_ns == when  # what has not changed is not read again


def test_a_gallery_without_notebooks(gallery, tmp_path):
    (tmp_path / "none").mkdir()
    assert gallery.build(tmp_path / "none", tmp_path / "pages") == []
    assert "toctree" not in (tmp_path / "pages" / "index.md").read_text()
