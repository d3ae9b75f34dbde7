"""A simulated twin of a recording of visual cortex: images, and cells that are blind to where in their field the bars lie."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayesglm._data import recording
from bayesglm._twins import _about, _positive
from bayesglm.features import gabor_filters

_SMALLEST = 8  # pixels: two cycles of the shortest wave that a cell prefers
_WAVES = (4.0, 8.0)  # pixels


def image_twin(
    images: int = 440, cells: int = 24, *, repeats: int = 4, size: int = 20, signal: float = 0.3, shared: float = 0.2, simple: float = 0.0, seed: int = 0
) -> xr.Dataset:
    """A twin of a recording under natural images: complex cells with a Gabor filter each, and fluctuations that they share.

    r_tn = sqrt(signal) z_n(image_t) + sqrt(1 - signal) (sqrt(shared) g_t + sqrt(1 - shared) e_tn), with z_n the standardised
    sqrt(a_0^2 + a_90^2) of a quadrature pair of Gabor filters (of a simple cell: its even half alone), g_t ~ Normal(0, 1)
    common to all cells and e_tn independent. The images are Gaussian with the spectrum of natural ones (amplitude 1/f), each of
    contrast (sd) one.

    Parameters
    ----------
    images : int
        How many different ones.
    cells : int
    repeats : int
        Times that each image is shown; its trials follow one another.
    size : int
        Height and width in pixels, eight at least.
    signal : float
        Share of a response's variance that the image explains: R^2 on single trials is at most this.
    shared : float
        Share of the rest that all cells have in common.
    simple : float
        Share of the cells that are simple.
    seed : int
        Cells and images do not depend on how often an image is shown; a cell's preferences not on how many images there are.

    Returns
    -------
    xarray.Dataset
        Trial rows: ``image (trial, y, x)``, ``response (trial, neuron)`` in units of its sd, ``shown (trial,)``, the number
        of the image; the truth as ``planted_response (trial, neuron)``, the part that the image explains, and
        ``planted_orientation`` (degrees of the bars), ``planted_wavelength``, ``planted_y`` and ``planted_x`` (pixels) and
        ``planted_simple (neuron,)``; ``attrs["generator"]``, the arguments as JSON text.

    Raises
    ------
    ValueError
        Sizes that are not positive, images under eight pixels, shares outside 0 to 1.

    References
    ----------
    Cadena et al. 2019, Deep convolutional models improve predictions of macaque V1 responses to natural images (recordings
    of the kind); Field 1987, Relations between the statistics of natural images and the response properties of cortical cells.

    Examples
    --------
    >>> import bayesglm as bg
    >>> data = bg.datasets.image_twin(images=10, cells=3, repeats=2)
    >>> data["image"].shape, data["response"].shape
    ((20, 20, 20), (20, 3))
    """
    _positive("image_twin", images=images, cells=cells, repeats=repeats)
    if size < _SMALLEST:
        raise ValueError(f"image_twin(size={size!r}): {_SMALLEST} pixels at least, two cycles of the finest grating that a cell prefers.")
    for name, share in (("signal", signal), ("shared", shared), ("simple", simple)):
        if not 0 <= share <= 1:
            raise ValueError(f"image_twin({name}={share!r}): a share between 0 and 1.")
    pictures = _pictures(np.random.default_rng([seed, 17]), images, size)
    about, driven = _cells(np.random.default_rng([seed, 18]), pictures, cells, simple)
    shown = np.repeat(np.arange(images), repeats)
    rng = np.random.default_rng([seed, 19])
    noise = np.sqrt(shared) * rng.normal(size=(shown.size, 1)) + np.sqrt(1 - shared) * rng.normal(size=(shown.size, cells))
    planted = np.sqrt(signal) * driven[shown]
    response = (("trial", "neuron"), planted + np.sqrt(1 - signal) * noise)
    data = recording(rows="trial", image=(("trial", "y", "x"), pictures[shown]), response=response, shown=shown)
    generator = dict(images=images, cells=cells, repeats=repeats, size=size, signal=signal, shared=shared, simple=simple, seed=seed)
    truth = {"planted_response": (("trial", "neuron"), planted)} | {f"planted_{name}": ("neuron", values) for name, values in about.items()}
    return data.assign(truth).assign_attrs(**_about("image_twin", generator))


def _pictures(rng: np.random.Generator, images: int, size: int) -> np.ndarray:
    """(image, y, x): noise whose amplitude falls as one over the frequency, of contrast one."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size))
    frequency[0, 0] = 1.0 / size  # brightness varies as the coarsest waves do
    found = np.fft.ifft2(np.fft.fft2(rng.normal(size=(images, size, size))) / frequency).real
    return found / found.std((1, 2), keepdims=True)


def _cells(rng: np.random.Generator, pictures: np.ndarray, cells: int, simple: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What each cell prefers, and its standardised drive by every image (image, cell)."""
    size = pictures.shape[1]
    wanted = rng.uniform(size=(cells, 5))
    waves = np.where(wanted[:, 1] < 0.5, *_WAVES)
    centres = size * (0.3 + 0.4 * wanted[:, 2:4]) - 0.5
    about = {"orientation": 180 * wanted[:, 0], "wavelength": waves, "y": centres[:, 0], "x": centres[:, 1], "simple": wanted[:, 4] < simple}
    driven = np.empty((len(pictures), cells))
    for n in range(cells):
        pair = gabor_filters((size, size), [about["orientation"][n]], [waves[n]], positions=centres[n : n + 1])
        even, odd = pair.values.reshape(2, -1) @ pictures.reshape(len(pictures), -1).T
        driven[:, n] = even if about["simple"][n] else np.hypot(even, odd)
    spread = driven.std(0)
    return about, (driven - driven.mean(0)) / np.where(spread > 0, spread, 1.0)
