"""The ``+`` of terms."""

from __future__ import annotations

from collections.abc import Iterator

import equinox as eqx
import numpy as np
import xarray as xr

from bayesglm.terms._base import AbstractTerm, Response


class Sum(eqx.Module):
    """Terms added up: eta = sum of the terms. The order does not matter."""

    terms: tuple[AbstractTerm, ...]

    def __init__(self, *terms: AbstractTerm) -> None:
        for term in terms:
            if not isinstance(term, AbstractTerm):
                raise ValueError(f"A model is a sum of terms (Baseline() + Stimulus(...) + ...); got {type(term).__name__} in it.")
        parts = tuple(part for term in terms for part in term.parts())
        names = [term.name for term in parts]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"Two terms are named {twice}: give one of them another name, as in Stimulus(..., name='{twice[0]}_2').")
        self.terms = parts

    def __add__(self, other: AbstractTerm | Sum) -> Sum:
        return Sum(*self.terms, *(other.terms if isinstance(other, Sum) else (other,)))

    def __iter__(self) -> Iterator[AbstractTerm]:
        return iter(self.terms)

    def __getitem__(self, name: str) -> AbstractTerm:
        for term in self.terms:
            if term.name == name:
                return term
        raise ValueError(f"The model has no term {name!r}; it has {[term.name for term in self.terms]}.")

    def resolve(self, data: xr.Dataset, response: Response) -> Sum:
        """Every term resolved; those that name others (``Pooled(of="stimulus")``) after them."""
        known = {term.name: term.resolve(data, response) for term in self.terms if not term.refers()}
        done = Sum(*(known.get(term.name) or term.refer(known).resolve(data, response) for term in self.terms))
        done._check_dims()
        return done

    def _check_dims(self) -> None:
        """Raise where two terms give one dim other labels: the posterior could not hold both."""
        found: dict[str, tuple[str, np.ndarray]] = {}
        for term in self.terms:
            labels = term.coords()
            for dim in term.dims:
                other, known = found.setdefault(dim, (term.name, labels[dim]))
                if not np.array_equal(known, labels[dim]):
                    named = "give one of them, or the term within it, another name="
                    alike = "give both the same sources, or nest both alike, as in Pooled('animal/session')"
                    mend = named if dim.endswith(("_basis", "_space")) else alike
                    raise ValueError(
                        f"The terms {other!r} and {term.name!r} both have the dim {dim!r}, with {len(known)} and {len(labels[dim])} labels: {mend}."
                    )
