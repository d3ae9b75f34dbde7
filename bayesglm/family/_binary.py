"""Binary responses: choices, and bins that hold at most one spike."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr
from numpyro.distributions import Distribution
from scipy.special import ndtri

from bayesglm.family._base import AbstractFamily, Hyper, chosen_link, finite_response
from bayesglm.family._distributions import BernoulliLog


class Bernoulli(AbstractFamily):
    """Binary response: P(y = 1) = 1/(1 + exp(-eta)) (logit), Phi(eta) (probit) or 1 - exp(-exp(eta)) (cloglog).

    With ``cloglog`` eta is the log of the expected spikes in the bin, as in a Poisson process of which only "any
    spike" is seen; its rate is -log(1 - p)/dt for every link.

    Parameters
    ----------
    link : "logit", "probit" or "cloglog"

    Raises
    ------
    ValueError
        By ``fit`` where the response is not coded 0 and 1.
    """

    link: str = eqx.field(default="logit", static=True)
    discrete: ClassVar[bool] = True

    def __check_init__(self) -> None:
        chosen_link("Bernoulli", self.link, ("logit", "probit", "cloglog"))

    def check(self, column: str, response: np.ndarray) -> None:
        finite_response(column, response, "family.Bernoulli")
        seen = np.unique(response[np.isfinite(response)] if response.dtype.kind == "f" else response)
        if np.isin(seen, (0, 1)).all():
            return
        if seen.size == 2:
            mend = f"code it 0 and 1, for instance ({column} == {seen[1]:g})"
        elif seen.size and seen.min() >= 0:
            mend = "use family.Poisson() for counts, or narrower bins"
        else:
            mend = "code it 0 and 1"
        raise ValueError(f"{column!r} holds the values {_listed(seen)}; family.Bernoulli wants 0 and 1: {mend}.")

    def logs(self, eta: Any) -> tuple[Any, Any]:
        """log P(1) and log P(0)."""
        if self.link == "logit":
            return -jax.nn.softplus(-eta), -jax.nn.softplus(eta)
        if self.link == "probit":
            return log_ndtr(eta), log_ndtr(-eta)
        expected = jnp.exp(eta)
        rare = eta < -20.0  # 1 - exp(-x) = x (1 - x/2) to double precision there
        some = jnp.where(rare, 1.0, expected)
        return jnp.where(rare, eta - 0.5 * expected, jnp.log(-jnp.expm1(-some))), -expected

    def __call__(self, eta: Any, hyper: Hyper, dt: Any) -> Distribution:
        return BernoulliLog(*self.logs(jnp.asarray(eta)))

    def log_density(self, eta: Any, y: Any, hyper: Hyper, dt: Any) -> Any:
        if self.link == "logit":
            return y * eta - jax.nn.softplus(eta)
        return self(eta, hyper, dt).log_prob(y)

    def level(self, mean: np.ndarray) -> np.ndarray:
        p = np.clip(mean, 1e-9, 1 - 1e-9)
        return {"logit": lambda: np.log(p) - np.log1p(-p), "probit": lambda: ndtri(p), "cloglog": lambda: np.log(-np.log1p(-p))}[self.link]()

    def rate(self, eta: Any, hyper: Hyper, dt: Any) -> Any:
        """Expected events a second, -log(1 - p)/dt: what a Poisson process with this chance of an empty bin fires."""
        return -self.logs(jnp.asarray(eta))[1] / dt


def _listed(values: np.ndarray) -> str:
    text = ", ".join(f"{v:g}" for v in values[:6])
    return text + (", ..." if values.size > 6 else "")
