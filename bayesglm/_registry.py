"""Which classes and distributions a file may name: a name that is not here makes no object."""

from __future__ import annotations

import functools
import importlib
import inspect

import equinox as eqx
import numpyro.distributions as dist
from numpyro.distributions import Distribution

_PACKAGES = ("basis", "family", "method", "prior", "terms", "models")
_SINGLE = {"GLM": "bayesglm._glm", "Convergence": "bayesglm._convergence"}

# Distribution -> the attributes that make it again.
LAWS: dict[str, tuple[str, ...]] = {
    "Beta": ("concentration1", "concentration0"),
    "Cauchy": ("loc", "scale"),
    "Chi2": ("df",),
    "Exponential": ("rate",),
    "Gamma": ("concentration", "rate"),
    "HalfCauchy": ("scale",),
    "HalfNormal": ("scale",),
    "HalfStudentT": ("df", "scale"),
    "InverseGamma": ("concentration", "rate"),
    "Laplace": ("loc", "scale"),
    "LeftTruncatedDistribution": ("base_dist", "low"),
    "Logistic": ("loc", "scale"),
    "LogNormal": ("loc", "scale"),
    "LogUniform": ("low", "high"),
    "Normal": ("loc", "scale"),
    "Pareto": ("scale", "alpha"),
    "StudentT": ("df", "loc", "scale"),
    "TwoSidedTruncatedDistribution": ("base_dist", "low", "high"),
    "Uniform": ("low", "high"),
    "Weibull": ("scale", "concentration"),
}


def law_class(name: str) -> type[Distribution]:
    """The distribution of this name, or a ValueError that lists the known ones."""
    if name not in LAWS:
        raise ValueError(f"The distribution {name!r} is not one that a file may hold; known are {', '.join(LAWS)}.")
    if name == "HalfStudentT":
        from bayesglm.prior import HalfStudentT

        return HalfStudentT
    return getattr(dist, name)


@functools.cache
def kinds(package: str) -> dict[str, type]:
    """The public concrete nouns of one package, by name."""
    module = importlib.import_module(f"bayesglm.{package}")
    public = {name: getattr(module, name) for name in getattr(module, "__all__", ())}
    return {name: value for name, value in public.items() if _concrete(value)}


def _concrete(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, eqx.Module) and not value.__name__.startswith("Abstract")


def kind_class(kind: str) -> type:
    """The class that a file names, or a ValueError that names what it asked for."""
    if kind in _SINGLE:
        return getattr(importlib.import_module(_SINGLE[kind]), kind)
    package, _, name = kind.partition(".")
    if package in _PACKAGES and name in kinds(package):
        return kinds(package)[name]
    raise ValueError(f"The kind {kind!r} is not known to this version of bayesglm: upgrade it, or see whether the file was changed.")


def kind_of(cls: type) -> str | None:
    """The name under which a class is written; None where it is not one of the package's own."""
    if cls.__name__ in _SINGLE and kind_class(cls.__name__) is cls:
        return cls.__name__
    package = cls.__module__.removeprefix("bayesglm.").partition(".")[0]
    if package in _PACKAGES and kinds(package).get(cls.__name__) is cls:
        return f"{package}.{cls.__name__}"
    return None
