"""The demo, its data and the command."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bayesglm as bg
from bayesglm import _catalogue, cli, datasets, method


@pytest.fixture(scope="module")
def receptor():
    pytest.importorskip("nitime", reason="the receptor's files come with nitime: pip install 'bayesglm[demo]'")
    return datasets.load("grasshopper")


def test_the_receptor_is_the_published_one(receptor):
    assert receptor.sizes == {"time": 10000, "neuron": 1}
    assert receptor.attrs["dt"] == 0.001
    assert int(receptor["spikes"].sum()) == 929
    assert receptor["stimulus"].attrs["units"] == "dB"
    # The files' headers state Gaussian noise with a standard deviation of 6 dB.
    assert 5.5 < float(receptor["stimulus"].std()) < 6.5
    assert float(receptor["stimulus"].max()) <= 0


def test_bins_are_counted_in_whole_microseconds(receptor):
    folder = _catalogue.nitime_folder()
    spikes = np.loadtxt(folder / "grasshopper_spike_times1.txt").astype(int)
    np.testing.assert_array_equal(receptor["spikes"].values[:, 0], np.bincount(spikes // 1000, minlength=10000))
    amplitude = np.loadtxt(folder / "grasshopper_stimulus1.txt")[:, 1]
    np.testing.assert_allclose(receptor["stimulus"], (20 * np.log10(amplitude)).reshape(-1, 20).mean(1), rtol=1e-12)


def test_files_are_found_by_path_and_by_environment(tmp_path, monkeypatch):
    folder = tmp_path / "grasshopper"
    folder.mkdir()
    times = np.arange(0, 20000, 50)
    np.savetxt(folder / "grasshopper_stimulus1.txt", np.c_[times, np.full(times.size, 0.1)])
    np.savetxt(folder / "grasshopper_spike_times1.txt", [700, 1200, 15300])
    assert int(datasets.load("grasshopper", folder)["spikes"].sum()) == 3
    monkeypatch.setenv("BAYESGLM_DATA", str(tmp_path))
    assert datasets.load("grasshopper").sizes["time"] == 20


def test_missing_data_say_how_to_get_them(tmp_path, monkeypatch, capsys):
    with pytest.raises(ValueError, match="there is no such data set; there are .*'grasshopper'"):
        datasets.load("locust")
    with pytest.raises(datasets.MissingData, match=r"pip install 'bayesglm\[demo\]'"):
        datasets.load("grasshopper", tmp_path)
    monkeypatch.delenv("BAYESGLM_DATA", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert cli.main(["demo", "--out", str(tmp_path)]) == 1
    assert "pip install 'bayesglm[demo]'" in capsys.readouterr().err


def test_the_command_says_its_version_and_its_help(capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out.strip() == f"bayesglm {bg.__version__}"
    assert cli.main([]) == 2
    assert "demo" in capsys.readouterr().out


def test_the_module_runs_as_the_command():
    done = subprocess.run([sys.executable, "-m", "bayesglm", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"bayesglm {bg.__version__}"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::bayesglm._fit.NotConverged")
def test_the_demo_prints_a_verdict_and_writes_its_figures(receptor, tmp_path, capsys):
    from bayesglm import _demo

    fits = _demo.run(tmp_path, method=method.NUTS(num_samples=300, num_chains=4), progress=False)
    out = capsys.readouterr().out
    assert list(fits) == [_demo.STIMULUS, _demo.HISTORY]
    assert "'stimulus + history' predicts better than 'stimulus'" in out
    assert "bits/spike held out" in out
    assert "the receptor is refractory" in out
    sizes = {path.name: os.path.getsize(path) for path in Path(tmp_path).glob("*.png")}
    assert set(sizes) == {"receptor_filters.png", "receptor_rate.png"}
    assert max(sizes.values()) < 200_000


@pytest.mark.slow
def test_the_main_job_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    text = (Path(__file__).parent.parent / "README.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    assert "'coupled' predicts better than 'alone'" in capsys.readouterr().out
    assert (tmp_path / "coupled.nc").exists()
    assert names["fit"].stats["converged"]
