"""prior_summary(): the priors that a model actually uses, and how much of eta each lets move."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpyro.distributions import Distribution

from bayesglm._double import in_double
from bayesglm._glm import GLM
from bayesglm._model import Block, Design
from bayesglm.engine.scales import plain
from bayesglm.prior._base import site_values
from bayesglm.prior._distributions import EvidenceScale
from bayesglm.prior._scale import MANY, describe_scale
from bayesglm.terms import Linear

_DRAWS = 200  # of learned parameters
_COLUMNS = ("term", "specified", "resolved", "weights", "sd of eta")


@dataclass(frozen=True, eq=False, repr=False)
class PriorSummary:
    """The priors of a model, a row a term.

    Attributes
    ----------
    table : tuple of dict
        term; specified ("default", or what was written); resolved; learned, the sites that it learns and their priors
        in words; weights (neuron,), how many exist; sd_eta (neuron,), the prior sd of the term's part of eta, root mean
        square over the scored training rows (median over the priors of learned parameters; infinite for a flat prior).
        The last row is the family's own parameters.
    neurons : (neuron,) labels, or None where the response has no dim ``neuron``
    notes : tuple of str
    """

    table: tuple[dict[str, Any], ...]
    neurons: np.ndarray | None
    notes: tuple[str, ...]

    def to_dataset(self) -> xr.Dataset:
        """specified, resolved, learned (term); weights, sd_eta (term, neuron)."""
        rows = [row for row in self.table if row["weights"] is not None]
        words = {name: ("term", np.array([row[name] for row in rows], dtype=object)) for name in ("specified", "resolved", "learned")}
        figures = {name: np.stack([row[name] for row in rows]) for name in ("weights", "sd_eta")}
        coords = {"term": [row["term"] for row in rows]}
        if self.neurons is None:
            return xr.Dataset(words | {name: ("term", value[:, 0]) for name, value in figures.items()}, coords)
        return xr.Dataset(words | {name: (("term", "neuron"), value) for name, value in figures.items()}, coords | {"neuron": self.neurons})

    def __repr__(self) -> str:
        lines = [_COLUMNS, *(_cells(row) for row in self.table)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(_COLUMNS))]
        text = ["  " + "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines]
        text[1:] = [
            line for row, one in zip(self.table, text[1:], strict=True) for line in (one, *(f"    {said}" for said in row["learned"].split("; ") if said))
        ]
        return "\n".join(["PriorSummary", *text, *(f"  note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in (*_COLUMNS, "learned"))
        rows = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in (*_cells(row), row["learned"])) + "</tr>" for row in self.table)
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        return f"<div><table><caption>Priors</caption><tr>{head}</tr>{rows}</table>{notes}</div>"


@in_double
def prior_summary(model: GLM, data: xr.Dataset) -> PriorSummary:
    """The priors that a model uses on a recording, and the sd of eta each implies: sqrt(mean_t x_t' Cov(w) x_t).

    Parameters
    ----------
    model : GLM
    data : xarray.Dataset
        The training recording: default scales, centres and numbers of weights come from it.

    Returns
    -------
    PriorSummary
        Prints as a table; ``.table`` a tuple of rows, ``.to_dataset()`` labelled arrays.

    Raises
    ------
    ValueError
        A model that is no GLM: its priors stand in its own story.

    Notes
    -----
    A term's sd grows with the square root of its columns: a coupling prior that is harmless for five sources moves eta
    by e-folds for two hundred. Where the baseline has its default prior, which is on eta at the average of all columns,
    columns are taken around their averages. Rows that are not scored do not count.

    Examples
    --------
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> data = bg.recording(dt=0.1, spikes=np.array([[1], [0], [2], [1]]), x=np.array([1.0, -1.0, 1.0, -1.0]))
    >>> found = bg.prior_summary(bg.GLM(bg.Baseline(bg.prior.Gaussian(2.0)) + bg.Linear("x", bg.prior.Gaussian(0.5))), data)
    >>> found.to_dataset()["sd_eta"].sel(term="x").values
    array([0.5])
    """
    if not isinstance(model, GLM):
        raise ValueError(f"prior_summary reads the terms of a GLM; {type(model).__name__} states its priors in its own story.")
    resolved = model.resolve(data)
    design = resolved.design(data)
    blocks = {block.name: block for block in resolved.blocks(design)}
    centred = any(term.name == "baseline" and getattr(term, "centred", False) for term in resolved.terms)
    rows = []
    for term in resolved.terms:
        if term.name in blocks:
            given = model.terms[term.name].prior
            specified = "default" if given is None else given.describe()
            rows.append(_row(blocks[term.name], specified, design, centred and term.name != "baseline", resolved.family.n_predictors))
    family = {site: law for site, (law, _) in resolved.family.hyper(resolved.response, 1.0).items()}
    own = {"term": "family", "specified": model.family.describe(), "resolved": resolved.family.describe(), "learned": _in_words(family), "weights": None}
    labels = resolved.coords().get("neuron") if resolved.has_neurons else None
    return PriorSummary((*rows, own | {"sd_eta": None}), labels, (*_notes(rows), *_shared_out(model, resolved)))


def _row(block: Block, specified: str, design: Design, centred: bool, several: int) -> dict[str, Any]:
    laws = {site: law for site, (law, _) in block.prior.hyper(block.name).items()}
    centre = np.asarray(design.each["cells"]["centre"][block.name], float) if centred else None
    mask = np.asarray(block.mask)
    return {
        "term": block.name,
        "specified": specified,
        "resolved": block.prior.describe(),
        "learned": _in_words(laws),
        "weights": mask.reshape(len(mask), -1).sum(1) * several,
        "sd_eta": _sd_of_eta(block, laws, mean_squares(block, np.asarray(design.weight()), centre), several),
    }


def mean_squares(block: Block, weight: np.ndarray, centre: np.ndarray | None) -> np.ndarray:
    """(neuron, *shape) mean square of the columns of each element over scored rows, around ``centre`` (neuron, *shape)."""
    size = len(block.mask)
    share = np.broadcast_to(weight, (len(weight), size)) / np.maximum(weight.sum(0), 1)
    rotation, out = block.prior.rotation(), []
    for n in range(size):
        columns = np.asarray(block.shared if block.own is None else block.own[n], float)
        if n and block.own is None and centre is None and weight.shape[1] == 1:
            out.append(out[0])
            continue
        moved = columns if centre is None else columns - centre[n]
        moved = moved if rotation is None else (moved.reshape(len(moved), -1, len(rotation)) @ rotation).reshape(moved.shape)
        out.append(np.tensordot(share[:, n], moved**2, 1))
    return np.stack(out)


def _sd_of_eta(block: Block, laws: dict[str, Distribution], squares: np.ndarray, several: int) -> np.ndarray:
    """(neuron,) median over learned parameters of the prior sd of x'w, elements being independent around zero."""
    prior, keys = block.prior, jax.random.split(jax.random.key(0), max(1, len(laws)))
    sites = {site: jnp.asarray(law.sample(key, (_DRAWS,))) for (site, law), key in zip(laws.items(), keys, strict=False)}
    mask = jnp.asarray(block.mask)
    mask, squares = (mask, jnp.asarray(squares)) if several == 1 else (jnp.repeat(mask[..., None], several, -1), jnp.asarray(squares)[..., None] / several)
    known = {name: jnp.asarray(value) for name, value in prior.known().items()}

    def one(sites: dict[str, Any], known: dict[str, Any], mask: Any, squares: Any) -> Any:
        precision = prior.whitening(site_values(prior, block.name, sites, known), mask)
        return jnp.sqrt(jnp.sum(jnp.where(mask, squares / precision, 0.0)))

    by_neuron = jax.vmap(one, in_axes=(None, 0, 0, 0))
    found = jax.vmap(lambda sites: by_neuron(sites, known, mask, squares))(sites) if sites else by_neuron({}, known, mask, squares)[None]
    return np.median(np.asarray(found), axis=0)


def _in_words(laws: dict[str, Distribution]) -> str:
    return "; ".join(f"{site} {_law_in_words(law)}" for site, law in laws.items())


def _law_in_words(law: Distribution) -> str:
    base, shape = plain(law), law.shape()
    if isinstance(base, EvidenceScale):
        return f"by evidence, on [{base.low:g}, {base.high:g}]"
    if all(np.ndim(getattr(base, name)) == 0 for name in base.arg_constraints):
        return f"~ {describe_scale(base)}" + (f", {' x '.join(map(str, shape))} of them" if shape else "")
    values = (np.ravel(getattr(base, name)) for name in base.arg_constraints)
    return f"~ {type(base).__name__}({', '.join('[' + ' '.join(f'{v:.3g}' for v in np.unique(value)) + ']' for value in values)})"


def _notes(rows: list[dict[str, Any]]) -> tuple[str, ...]:
    flat = [row["term"] for row in rows if not np.isfinite(row["sd_eta"]).all()]
    return (f"{flat} have a flat prior: it has no sd, and no prior predictive",) if flat else ()


def _shared_out(model: GLM, resolved: GLM) -> tuple[str, ...]:
    """Where a default scale is narrower because a column has many entries."""
    if resolved.family.own_unit:
        return ()
    entries = {one.name: int(np.prod(one.shape or ())) for one in resolved.terms if isinstance(one, Linear) and model.terms[one.name].prior is None}
    return tuple(
        f"{name!r} has {count} entries: the default scale is HalfNormal(sqrt({MANY} / {count})), so that eta's prior sd is what it is for {MANY}"
        for name, count in entries.items()
        if count > MANY
    )


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    if row["weights"] is None:
        return row["term"], row["specified"], row["resolved"], "", ""
    return row["term"], row["specified"], row["resolved"], _span(row["weights"], "d"), _span(row["sd_eta"], ".3g")


def _span(values: np.ndarray, style: str) -> str:
    low, high = format(values.min(), style), format(values.max(), style)
    return low if low == high else f"{low} to {high}"
