"""report(): one self-contained page about a fit."""

from __future__ import annotations

import html
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from bayesglm._checking._check import Checks, check
from bayesglm._fit import Fit
from bayesglm._netcdf import replacing, target_path
from bayesglm._progress import progress_bar
from bayesglm._report._judgements import checks_section, comparison_section, drift_section, predictive_section, rescaling_section, sensitivity_section, short
from bayesglm._report._page import Section, page, paragraph
from bayesglm._report._sections import (
    conditions_section,
    coupling_section,
    filters_section,
    model_section,
    recording_section,
    reproduce_section,
    tuning_section,
)
from bayesglm._show import headline

if TYPE_CHECKING:
    from bayesglm._comparing._comparison import Comparison

Make = Callable[[], str]


class ReportNote(UserWarning):
    """A part of a report that could not be made."""


def report(
    fit: Fit,
    path: str | os.PathLike,
    data: xr.Dataset | None = None,
    compare: Comparison | dict[str, Fit] | None = None,
    *,
    title: str | None = None,
    refit: bool = True,
    key: Any = 0,
    progress: bool = True,
) -> Path:
    """Write one HTML page about a fit: what was fitted, whether to believe it, what was found, and what it conditions on.

    The page holds its figures and needs no network; it reads on paper and on a phone. It is written whole or not at all.

    Parameters
    ----------
    fit : Fit
    path : str or path
        Where to write; an existing file is replaced.
    data : xarray.Dataset, optional
        A test recording: checks are then held out, and nominal. Without it they are in sample, and labelled conservative.
    compare : Comparison or mapping of names to Fit, optional
        The result of ``bg.compare``, or fits to compare.
    title : str, optional
        Default: the model's response and terms.
    refit : bool
        Whether to fit again where a check needs it: to halves of the recording, and couplings with a drift term and without
        the other covariates.
    key : int or JAX key
        Of replicates and refits.
    progress : bool

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    FileNotFoundError
        Where the folder does not exist.
    ValueError
        Where ``fit`` is no fit, or ``path`` is a folder.

    Warns
    -----
    ReportNote
        Where a part could not be made; the page says why in its place.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> import bayesglm as bg
    >>> data = bg.recording(dt=0.01, spikes=np.random.default_rng(0).poisson(0.2, (2000, 1)))
    >>> fit = bg.fit(bg.GLM(bg.Baseline()), data, "laplace", progress=False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = bg.report(fit, os.path.join(folder, "fit.html"), refit=False, progress=False)
    ...     "The fit converged." in page.read_text()
    True
    """
    if not isinstance(fit, Fit):
        raise ValueError(f"report wants a fit made by bg.fit(...), got {type(fit).__name__}.")
    target = target_path(path)
    made: dict[str, Checks | None] = {"checks": None}

    def checking() -> str:
        made["checks"] = check(fit, data, halves=refit, key=key, progress=False)
        return checks_section(made["checks"])

    sections = _made(_parts(fit, data, compare, refit, key, made, checking), progress)
    lead = "\n".join([*(paragraph(f"{label}: {said}") for label, said in headline(fit)[:3]), short(fit, made["checks"])])
    whole = page(title or _title(fit), lead, sections)
    with replacing(target) as temporary:
        temporary.write_text(whole, encoding="utf-8")
    return target


def _parts(fit: Fit, data: xr.Dataset | None, compare: Any, refit: bool, key: Any, made: dict[str, Checks | None], checking: Make) -> list[tuple[str, Make]]:
    """Titles and makers, in the order of the page; checks come first, because others read what they found."""
    listed: list[tuple[str, Make]] = [
        ("Checks", checking),
        ("Model", lambda: model_section(fit)),
        ("Recording", lambda: recording_section(fit, data)),
        ("Filters and effects", lambda: filters_section(fit)),
        ("Functional coupling", lambda: coupling_section(fit, refit)),
        ("Tuning", lambda: tuning_section(fit)),
        ("Predictive checks", _reading(fit, data, lambda: predictive_section(fit, data, made["checks"], key, False))),
        ("Time rescaling", _reading(fit, data, lambda: rescaling_section(fit, data, made["checks"], key, False))),
    ]
    listed.append(("Sensitivity to the priors", _reading(fit, None, lambda: sensitivity_section(fit))))
    if refit:
        listed.append(("Drift", lambda: paragraph("Not assessed.") if made["checks"] is None else drift_section(made["checks"])))
    if compare is not None:
        listed.append(("Comparison", lambda: comparison_section(compare)))
    return [*listed, ("What the bands condition on", lambda: conditions_section(fit)), ("How to reproduce it", lambda: reproduce_section(fit))]


def _reading(fit: Fit, data: xr.Dataset | None, make: Make) -> Make:
    """``make``, where there is a recording to read."""
    return make if fit.data is not None or data is not None else lambda: paragraph("Not assessed: the fit was saved without its recording.")


def _made(parts: list[tuple[str, Make]], progress: bool) -> list[Section]:
    found = []
    with progress_bar(progress, "report") as monitor:
        for done, (title, make) in enumerate(parts):
            found.append(Section(title, _or_why(title, make)))
            if monitor is not None:
                monitor(done + 1, len(parts), None, title)
    return found


def _or_why(title: str, make: Make) -> str:
    """A part of the page; where it cannot be made the reason stands in its place, and is warned of."""
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            body = make()
    except Exception as error:  # one part that fails must not lose the page
        warnings.warn(f"report: the part {title!r} could not be made: {error}", ReportNote, stacklevel=4)
        return paragraph(f"This part could not be made: {error}")
    notes = dict.fromkeys(str(one.message) for one in said if issubclass(one.category, UserWarning))
    return body + "".join(f'<p class="small">{html.escape(note)}</p>' for note in notes)


def _title(fit: Fit) -> str:
    model: Any = fit.model
    if not hasattr(model, "terms"):
        return type(model).__name__
    return f"{model.response} explained by {', '.join(term.name for term in model.terms)}"
