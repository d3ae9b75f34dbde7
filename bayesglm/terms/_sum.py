"""The ``+`` of terms."""

from __future__ import annotations

from collections.abc import Iterator

import equinox as eqx

from bayesglm.terms._base import AbstractTerm


class Sum(eqx.Module):
    """Terms added up: eta = sum of the terms. The order does not matter."""

    terms: tuple[AbstractTerm, ...]

    def __init__(self, *terms: AbstractTerm) -> None:
        for term in terms:
            if not isinstance(term, AbstractTerm):
                raise ValueError(f"A model is a sum of terms (Baseline() + Stimulus(...) + ...); got {type(term).__name__} in it.")
        names = [term.name for term in terms]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"Two terms are named {twice}: give one of them another name, as in Stimulus(..., name='{twice[0]}_2').")
        self.terms = tuple(terms)

    def __add__(self, other: AbstractTerm | Sum) -> Sum:
        return Sum(*self.terms, *(other.terms if isinstance(other, Sum) else (other,)))

    def __iter__(self) -> Iterator[AbstractTerm]:
        return iter(self.terms)

    def __getitem__(self, name: str) -> AbstractTerm:
        for term in self.terms:
            if term.name == name:
                return term
        raise ValueError(f"The model has no term {name!r}; it has {[term.name for term in self.terms]}.")
