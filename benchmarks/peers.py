"""The peers, each with its own idioms on the same columns, responses and penalty. ``prepare`` is not timed."""

from __future__ import annotations

from typing import Any

import numpy as np
from ours import Solver
from same import Problem

MODULES = {
    "nemos": ("nemos",),
    "glum": ("glum",),
    "scikit-learn": ("sklearn",),
    "statsmodels": ("statsmodels",),
    "skglm": ("skglm",),
    "numpyro": ("numpyro",),
    "bambi": ("bambi", "nutpie"),
}


def make(who: str, setting: str, quick: bool) -> Solver:
    """A peer's solver; imports happen here, before the clock starts."""
    if who == "numpyro":
        from peers_numpyro import make as numpyro

        return numpyro(setting, quick)
    return {"nemos": _nemos, "glum": _glum, "scikit-learn": _sklearn, "statsmodels": _statsmodels, "skglm": _skglm, "bambi": _bambi}[who](setting, quick)


def _weights(coefficients: Any, intercept: Any) -> dict[str, Any]:
    """(receiver, column + 1) from (column,) or (column, receiver)."""
    w = np.asarray(coefficients, float)
    w = w[:, None] if w.ndim == 1 else w
    return {"weights": np.concatenate([w, np.broadcast_to(intercept, (1, w.shape[1]))]).T, "info": {}}


def _strength(problem: Problem) -> float:
    """These peers' losses are means over rows."""
    return (problem.lasso or problem.ridge) / len(problem.columns)


def _nemos(setting: str, quick: bool) -> Solver:
    import jax

    jax.config.update("jax_enable_x64", True)  # in single precision its line search stops far from the optimum at this size
    import nemos

    tight = {"tol": 1e-8, "maxiter": 20_000} if "tight" in setting else {}

    def solve(problem: Problem) -> dict[str, Any]:
        kind = nemos.glm.GLM if problem.n_receivers == 1 else nemos.glm.PopulationGLM
        regularizer, solver = ("Lasso", "ProximalGradient") if problem.lasso else ("Ridge", "LBFGS")
        peer = kind(regularizer=regularizer, regularizer_strength=_strength(problem), solver_name=solver, solver_kwargs=tight)
        peer.fit(problem.columns, problem.responses[:, 0] if problem.n_receivers == 1 else problem.responses)
        return _weights(peer.coef_, np.asarray(peer.intercept_))

    return Solver(lambda problem: problem, solve)


def _glum(setting: str, quick: bool) -> Solver:
    import glum

    tight = {"gradient_tol": 1e-9} if "tight" in setting else {}

    def solve(problem: Problem) -> dict[str, Any]:
        peer = glum.GeneralizedLinearRegressor(family="poisson", alpha=_strength(problem), l1_ratio=float(problem.lasso > 0), max_iter=1000, **tight)
        peer.fit(problem.columns, problem.responses[:, 0])
        return _weights(peer.coef_, peer.intercept_)

    return Solver(_fortran, solve)


def _sklearn(setting: str, quick: bool) -> Solver:
    from sklearn.linear_model import PoissonRegressor

    tight = {"tol": 1e-9} if "tight" in setting else {}

    def solve(problem: Problem) -> dict[str, Any]:
        peer = PoissonRegressor(alpha=_strength(problem), solver="newton-cholesky", max_iter=1000, **tight)
        peer.fit(problem.columns, problem.responses[:, 0])
        return _weights(peer.coef_, peer.intercept_)

    return Solver(lambda problem: problem, solve)


def _statsmodels(setting: str, quick: bool) -> Solver:
    import statsmodels.api as sm

    def prepare(problem: Problem) -> Any:
        alpha = np.append(np.full(problem.columns.shape[1], _strength(problem)), 0.0)
        return np.column_stack([problem.columns, np.ones(len(problem.columns))]), problem.responses[:, 0], alpha

    def solve(ready: Any) -> dict[str, Any]:
        columns, y, alpha = ready
        start = np.append(np.zeros(columns.shape[1] - 1), np.log(y.mean()))
        found = sm.GLM(y, columns, family=sm.families.Poisson()).fit_regularized(alpha=alpha, L1_wt=0, start_params=start, opt_method=setting)
        return _weights(found.params[:-1], found.params[-1])

    return Solver(prepare, solve)


def _skglm(setting: str, quick: bool) -> Solver:
    from skglm import GeneralizedLinearEstimator
    from skglm.datafits import Poisson
    from skglm.penalties import L1
    from skglm.solvers import ProxNewton

    tight = {"tol": 1e-9, "max_iter": 100} if "tight" in setting else {}

    def solve(problem: Problem) -> dict[str, Any]:
        peer = GeneralizedLinearEstimator(Poisson(), L1(_strength(problem)), ProxNewton(fit_intercept=True, **tight))
        peer.fit(problem.columns, problem.responses[:, 0])
        return _weights(np.ravel(peer.coef_), np.ravel(peer.intercept_))

    return Solver(_fortran, solve)


def _fortran(problem: Problem) -> Problem:
    """Columns contiguous, as coordinate descent wants them."""
    return problem._replace(columns=np.asfortranarray(problem.columns))


def _bambi(setting: str, quick: bool) -> Solver:
    import bambi
    import nutpie  # noqa: F401  its import is not timed
    import pandas

    draws = 50 if quick else 1000

    def prepare(problem: Problem) -> Any:
        names = [f"x{i}" for i in range(problem.columns.shape[1])]
        return pandas.DataFrame(problem.columns, columns=names).assign(y=problem.responses[:, 0].astype(int)), names, problem.ridge**-0.5

    def solve(ready: Any) -> dict[str, Any]:
        frame, names, scale = ready
        priors = {name: bambi.Prior("Normal", mu=0, sigma=scale) for name in names} | {"Intercept": bambi.Prior("Flat")}
        model = bambi.Model("y ~ " + " + ".join(names), frame, family="poisson", priors=priors)
        found = model.fit(inference_method="nutpie", draws=draws, tune=draws, chains=2 if quick else 4, random_seed=0, progressbar=False)
        posterior = found["posterior"]
        values = np.stack([np.asarray(posterior[name]) for name in (*names, "Intercept")], -1)
        return {"draws": values[:, :, None], "info": {"steps_a_draw": float(np.mean(np.asarray(found["sample_stats"]["n_steps"])))}}

    return Solver(prepare, solve)
