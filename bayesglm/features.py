"""Features of images, to explain responses with: a bank of Gabor filters and what it says of each image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr

Cells = Literal["complex", "simple", "both"]
_CHUNK = 4_000_000  # numbers of filters held at once: 32 MB


class _Group(NamedTuple):
    """Filters that differ in their place alone."""

    orientation: float
    wavelength: float
    centres: np.ndarray  # (place, 2): y and x


class _Bank(NamedTuple):
    shape: tuple[int, int]
    groups: tuple[_Group, ...]
    sigma: float
    aspect: float


def gabor_filters(
    size: tuple[int, int],
    orientations: int | Sequence[float] = 8,
    wavelengths: Sequence[float] = (4.0, 8.0),
    phases: Sequence[float] = (0.0, 90.0),
    *,
    sigma: float = 0.56,
    aspect: float = 1.0,
    positions: Literal["grid", "centre"] | Any = "grid",
    spacing: float = 1.0,
) -> xr.DataArray:
    """Gabor filters: a grating under a Gaussian envelope.

    g(y, x) = exp(-(u^2 + aspect^2 v^2) / (2 s^2)) (cos(2 pi u / wavelength + phase) - c),  s = sigma wavelength,
    u across the bars and v along them, from the filter's centre; c makes the filter blind to a uniform image, and it is
    scaled to sum of squares 1.

    Parameters
    ----------
    size : (int, int)
        Height and width of the images in pixels.
    orientations : int or sequence of float
        How many, evenly spaced over 180 degrees; or which: those of the bars in degrees, counterclockwise from horizontal
        (90: vertical bars).
    wavelengths : sequence of float
        Of the grating in pixels, at least 2.
    phases : sequence of float
        In degrees; 0 is even (a bright bar at the centre), 90 odd (an edge).
    sigma : float
        Of the envelope, in wavelengths; 0.56 gives a bandwidth of one octave.
    aspect : float
        Width of the envelope over its length; below one: longer bars.
    positions : "grid", "centre" or array (position, 2)
        Centres: a grid with a step of ``spacing`` wavelengths, the image's middle, or (y, x) in pixels.
    spacing : float

    Returns
    -------
    xarray.DataArray, (feature, y, x)
        With the coordinates orientation, phase (degrees), wavelength, centre_y and centre_x (pixels) of each feature.

    Raises
    ------
    ValueError
        For a wavelength under two pixels, or a parameter that is no positive number.

    References
    ----------
    Daugman 1985, Uncertainty relation for resolution in space, spatial frequency, and orientation; Jones & Palmer 1987.

    Examples
    --------
    >>> from bayesglm import features
    >>> features.gabor_filters((16, 16), orientations=4, wavelengths=[8], positions="centre").sizes["feature"]
    8
    """
    bank = _bank(size, orientations, wavelengths, sigma, aspect, positions, spacing)
    angles = _numbers("phases", phases)
    parts, known = [], []
    for group, filters in _filters(bank, angles):
        parts.append(filters.reshape(-1, *bank.shape))
        known.append(_known(group, angles, "simple"))
    return xr.DataArray(np.concatenate(parts), _coords(known), ("feature", "y", "x"), "gabor_filters")


def gabor_bank(
    images: Any,
    orientations: int | Sequence[float] = 8,
    wavelengths: Sequence[float] = (4.0, 8.0),
    phases: Sequence[float] = (0.0, 90.0),
    *,
    cells: Cells = "complex",
    sigma: float = 0.56,
    aspect: float = 1.0,
    positions: Literal["grid", "centre"] | Any = "grid",
    spacing: float = 1.0,
) -> xr.DataArray:
    """Responses of a bank of Gabor filters to images.

    simple: r = sum_yx g(y, x) image(y, x), one a phase. complex: sqrt(r_0^2 + r_90^2), the root of the energy of a quadrature
    pair, which hardly depends on where the bars lie under the envelope.

    Parameters
    ----------
    images : array or DataArray, (image, y, x)
        A DataArray keeps the name and the labels of its first dim: with ``trial`` the result is a column of a recording.
    orientations, wavelengths, phases, sigma, aspect, positions, spacing
        As for ``gabor_filters``; ``phases`` are those of simple cells.
    cells : "complex", "simple" or "both"

    Returns
    -------
    xarray.DataArray, (image, feature)
        In the images' unit times pixels. Coordinates of each feature: a label, cell, orientation, phase (degrees; NaN of
        complex cells), wavelength, centre_y and centre_x (pixels).

    Raises
    ------
    ValueError
        Where ``images`` is not (image, y, x) or holds NaN, for an unknown kind of ``cells``, and as ``gabor_filters``.

    References
    ----------
    Adelson & Bergen 1985, Spatiotemporal energy models for the perception of motion; Kay et al. 2008, Identifying natural
    images from human brain activity.

    Examples
    --------
    >>> import numpy as np
    >>> from bayesglm import features
    >>> bars = np.sin(2 * np.pi * np.arange(16) / 8) * np.ones((1, 16, 16))  # vertical
    >>> bank = features.gabor_bank(bars, orientations=4, wavelengths=[8], positions="centre")
    >>> float(bank["orientation"][bank[0].argmax("feature")])
    90.0
    """
    if cells not in ("complex", "simple", "both"):
        raise ValueError(f"gabor_bank(cells={cells!r}): 'complex', 'simple' or 'both'.")
    frames, dim, labels = _frames(images)
    bank = _bank(frames.shape[1:], orientations, wavelengths, sigma, aspect, positions, spacing)
    own = _numbers("phases", phases) if cells != "complex" else np.zeros(0)
    flat, parts, known = frames.reshape(len(frames), -1), [], []
    for group, filters in _filters(bank, np.concatenate([[0.0, 90.0], own] if cells != "simple" else [own])):
        found = np.moveaxis(filters.reshape(*filters.shape[:2], -1) @ flat.T, -1, 0)  # (image, phase, place)
        if cells != "simple":
            parts.append(np.sqrt(found[:, 0] ** 2 + found[:, 1] ** 2))
            known.append(_known(group, np.array([np.nan]), "complex"))
            found = found[:, 2:]
        if cells != "complex":
            parts.append(found.reshape(len(frames), -1))
            known.append(_known(group, own, "simple"))
    return xr.DataArray(np.concatenate(parts, 1), labels | _coords(known), (dim, "feature"), "gabor_bank")


def _bank(size: Any, orientations: Any, wavelengths: Any, sigma: float, aspect: float, positions: Any, spacing: float) -> _Bank:
    shape = tuple(int(length) for length in size)
    if len(shape) != 2 or min(shape) < 2:
        raise ValueError(f"Images of size {size!r}: give (height, width) in pixels, at least 2 each.")
    for name, value in (("sigma", sigma), ("aspect", aspect), ("spacing", spacing)):
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name}={value!r}: it must be a positive number.")
    angles = np.arange(orientations) * 180.0 / orientations if isinstance(orientations, (int, np.integer)) else _numbers("orientations", orientations)
    lengths = _numbers("wavelengths", wavelengths)
    if not angles.size or lengths.min() < 2.0:
        raise ValueError(f"wavelengths={lengths.tolist()}, {angles.size} orientations: there must be one at least, of no less than two pixels.")
    groups = tuple(_Group(float(a), float(w), _centres(shape, w, positions, spacing)) for w in lengths for a in angles)
    return _Bank(shape, groups, sigma, aspect)


def _numbers(name: str, values: Any) -> np.ndarray:
    found = np.atleast_1d(np.asarray(values, float))
    if found.ndim != 1 or not found.size or not np.isfinite(found).all():
        raise ValueError(f"{name}={values!r}: give a list of finite numbers.")
    return found


def _centres(shape: tuple[int, ...], wavelength: float, positions: Any, spacing: float) -> np.ndarray:
    """(place, 2) y and x of the filters' centres."""
    middle = (np.array(shape) - 1) / 2.0
    if isinstance(positions, str):
        if positions not in ("grid", "centre"):
            raise ValueError(f"positions={positions!r}: 'grid', 'centre', or an array (position, 2) of y and x in pixels.")
        step = spacing * wavelength
        counts = [max(1, int(length // step)) if positions == "grid" else 1 for length in shape]
        axes = [at + step * (np.arange(n) - (n - 1) / 2.0) for at, n in zip(middle, counts, strict=True)]
        return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    given = np.asarray(positions, float)
    if given.ndim != 2 or given.shape[1] != 2 or not np.isfinite(given).all():
        raise ValueError(f"positions has the shape {given.shape}; it wants (position, 2): y and x in pixels.")
    return given


def _filters(bank: _Bank, phases: np.ndarray) -> Iterator[tuple[_Group, np.ndarray]]:
    """Filters (phase, place, y, x), some places at a time."""
    together = max(1, _CHUNK // (bank.shape[0] * bank.shape[1] * max(1, phases.size)))
    for group in bank.groups:
        for start in range(0, len(group.centres), together):
            part = group._replace(centres=group.centres[start : start + together])
            yield part, _made(bank, part, np.deg2rad(phases))


def _made(bank: _Bank, group: _Group, phases: np.ndarray) -> np.ndarray:
    y, x = (grid - at[:, None, None] for grid, at in zip(np.indices(bank.shape), group.centres.T, strict=True))
    angle = np.deg2rad(group.orientation)
    across, along = x * np.sin(angle) + y * np.cos(angle), x * np.cos(angle) - y * np.sin(angle)  # rows count downwards
    envelope = np.exp(-(across**2 + (bank.aspect * along) ** 2) / (2.0 * (bank.sigma * group.wavelength) ** 2))
    waves = np.cos(2.0 * np.pi / group.wavelength * across + phases[:, None, None, None])
    mean = (envelope * waves).sum((-2, -1), keepdims=True) / envelope.sum((-2, -1), keepdims=True)
    found = envelope * (waves - mean)
    norm = np.sqrt((found**2).sum((-2, -1), keepdims=True))
    return found / np.where(norm > 0, norm, 1.0)


def _known(group: _Group, phases: np.ndarray, cell: str) -> dict[str, np.ndarray]:
    """What describes each feature of a group, phases first."""
    places, count = len(group.centres), len(group.centres) * phases.size
    return {
        "cell": np.full(count, cell),
        "orientation": np.full(count, group.orientation),
        "wavelength": np.full(count, group.wavelength),
        "phase": np.repeat(phases, places),
        "centre_y": np.tile(group.centres[:, 0], phases.size),
        "centre_x": np.tile(group.centres[:, 1], phases.size),
    }


def _coords(known: list[dict[str, np.ndarray]]) -> dict[str, Any]:
    columns = {name: np.concatenate([part[name] for part in known]) for name in known[0]}
    labels = [_label(*row) for row in zip(*columns.values(), strict=True)]
    units = {"orientation": "degrees", "phase": "degrees", "wavelength": "pixels", "centre_y": "pixels", "centre_x": "pixels"}
    return {"feature": labels} | {name: ("feature", values, {"units": units[name]} if name in units else {}) for name, values in columns.items()}


def _label(cell: str, orientation: float, wavelength: float, phase: float, y: float, x: float) -> str:
    shift = "" if np.isnan(phase) else f" phase {phase:g}"
    return f"{cell} {orientation:g} deg{shift} {wavelength:g} px at {y:g},{x:g}"


def _frames(images: Any) -> tuple[np.ndarray, str, dict[str, Any]]:
    """Images (image, y, x) as numbers, the name of their first dim and its labels."""
    values = np.asarray(images)
    if values.ndim != 3 or values.dtype.kind not in "fiub":
        raise ValueError(f"gabor_bank wants images (image, y, x) of numbers; got shape {values.shape} and type {values.dtype}. One image: image[None].")
    values = values.astype(float)
    if not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).sum())} pixels are NaN or infinite: fill them, or leave those images out.")
    if not isinstance(images, xr.DataArray):
        return values, "image", {}
    dim = str(images.dims[0])
    return values, dim, {dim: images[dim]} if dim in images.coords else {}
