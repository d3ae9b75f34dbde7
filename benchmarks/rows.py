"""The rows of the benchmark: what is solved, by whom, and the goal of each."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One line of a row's table; ``calls`` is how many warm calls a process makes, ``repeats`` how many processes at most."""

    who: str
    setting: str
    calls: int = 3
    repeats: int = 9


class Goal(NamedTuple):
    """``ours`` is to be at least ``factor`` times as fast as ``peer`` ("*": the fastest other than NeMoS), or under ``seconds``."""

    ours: str
    kind: str  # cold or warm
    factor: float = 0.0
    peer: str = ""
    setting: str = ""
    seconds: float = 0.0


class Row(NamedTuple):
    """Sizes, entries and goals. ``share`` of the weights left by the L1 penalty; zero is a ridge."""

    name: str
    title: str
    rows: int
    neurons: int
    receivers: int
    entries: tuple[Entry, ...]
    goals: tuple[Goal, ...]
    share: float = 0.0
    ridge: float = 1.0
    posterior: bool = False
    passengers: int = 1  # weight vectors of one gradient pass: receivers x chains


def our(*settings: str, repeats: int = 9) -> tuple[Entry, ...]:
    """Our entries."""
    return tuple(Entry("bayesglm", setting, repeats=repeats) for setting in settings)


_BIG = {"rows": 100_000, "neurons": 20}

ROWS = {
    row.name: row
    for row in (
        Row(
            "map_one",
            "MAP, one Poisson neuron, Gaussian prior",
            **_BIG,
            receivers=1,
            entries=(
                *our("map", "fit map"),
                Entry("scikit-learn", "newton-cholesky"),
                Entry("scikit-learn", "newton-cholesky tight"),
                Entry("glum", "default"),
                Entry("glum", "tight"),
                Entry("statsmodels", "bfgs", calls=1, repeats=3),
                Entry("statsmodels", "l-bfgs-b", calls=1, repeats=3),
                Entry("nemos", "LBFGS", calls=1, repeats=3),
                Entry("nemos", "LBFGS tight", calls=1, repeats=3),
            ),
            goals=(
                Goal("map", "warm", 40, "nemos", "LBFGS tight"),
                Goal("map", "warm", 3, "*"),
                Goal("map", "cold", 15, "nemos", "LBFGS tight"),
                Goal("map", "cold", 1, "*"),
            ),
        ),
        Row(
            "map_population",
            "MAP, 20 Poisson neurons at once, Gaussian prior",
            **_BIG,
            receivers=20,
            passengers=20,
            entries=(*our("map", "fit map"), Entry("nemos", "LBFGS", calls=1, repeats=1), Entry("nemos", "LBFGS tight", calls=1, repeats=1)),
            goals=(Goal("map", "cold", 80, "nemos", "LBFGS"), Goal("map", "cold", 50, "nemos", "LBFGS tight")),
        ),
        Row(
            "map_l1",
            "L1 optimum, one Poisson neuron",
            **_BIG,
            receivers=1,
            share=0.6,
            entries=(
                *our("map", "fit map"),
                Entry("glum", "default"),
                Entry("glum", "tight"),
                Entry("skglm", "ProxNewton", calls=1, repeats=3),
                Entry("skglm", "ProxNewton tight", calls=1, repeats=1),
                Entry("nemos", "ProximalGradient", calls=1, repeats=3),
            ),
            goals=(Goal("map", "warm", 60, "nemos", "ProximalGradient"), Goal("map", "warm", 2, "glum", "tight")),
        ),
        Row(
            "posterior_small",
            "posterior, one Poisson neuron, about 500 spikes, 4,000 kept draws; smallest bulk-ESS a second",
            rows=20_000,
            neurons=4,
            receivers=1,
            posterior=True,
            passengers=4,
            entries=(
                *our("nuts", "nuts single", "hmc", "hmc single", "fit nuts", "fit hmc single"),
                Entry("numpyro", "default", calls=1, repeats=3),
                Entry("numpyro", "dense_mass", calls=1, repeats=3),
                Entry("bambi", "nutpie", calls=1, repeats=3),
            ),
            goals=(
                Goal("nuts", "cold", 40, "numpyro", "default"),
                Goal("nuts", "cold", 5, "numpyro", "dense_mass"),
                Goal("nuts", "cold", 150, "bambi", "nutpie"),
                Goal("hmc", "cold", 100, "numpyro", "default"),
                Goal("hmc", "cold", 10, "numpyro", "dense_mass"),
                Goal("hmc", "cold", 350, "bambi", "nutpie"),
            ),
        ),
        Row(
            "posterior_large",
            "posterior, one Poisson neuron, about 2,500 spikes, 4,000 kept draws; smallest bulk-ESS a second",
            **_BIG,
            receivers=1,
            posterior=True,
            passengers=16,
            entries=(
                Entry("bayesglm", "hmc single", calls=1, repeats=3),
                Entry("bayesglm", "fit hmc single", calls=1, repeats=3),
                Entry("bayesglm", "nuts 250", calls=0, repeats=1),
                Entry("numpyro", "part run", calls=0, repeats=1),
            ),
            goals=(Goal("hmc single", "cold", 200, "numpyro", "part run"), Goal("nuts 250", "cold", 200, "numpyro", "part run")),
        ),
        Row(
            "posterior_population",
            "posterior of all 20 neurons, diagnostics included",
            **_BIG,
            receivers=20,
            posterior=True,
            passengers=320,
            entries=(Entry("bayesglm", "fit hmc single", calls=0, repeats=3), Entry("bayesglm", "fit nuts 800", calls=0, repeats=1)),
            goals=(Goal("fit hmc single", "cold", seconds=300), Goal("fit nuts 800", "cold", seconds=900)),
        ),
    )
}


def small(row: Row) -> Row:
    """The same row at a size that shows only that everything runs."""
    entries = tuple(entry._replace(calls=min(entry.calls, 1)) for entry in row.entries)
    receivers = min(row.receivers, 3)
    return row._replace(rows=1500, neurons=3, receivers=receivers, passengers=min(row.passengers, 12), entries=entries)
