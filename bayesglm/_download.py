"""Public files by their checksums: fetched once, whole or not at all, into the user's cache."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

_WAIT = 30  # s without an answer, or without a byte, after which a download is given up


class MissingData(ValueError):
    """The files of a data set are not on this machine; the sentence says how to get them."""


class Source(NamedTuple):
    """Where a public file lies: an address that does not move, and the SHA-256 of what must come from it."""

    url: str
    sha256: str


def cache() -> Path:
    """Where downloaded files are kept: the folder "bayesglm" in the operating system's cache folder."""
    import pooch

    return Path(pooch.os_cache("bayesglm"))


def downloaded(name: str, folder: str, files: tuple[str, ...], sources: tuple[Source, ...], terms: str, mend: str, progress: bool) -> list[Path]:
    """Paths of a set's files in the cache; what is not there, or is not what it should be, is downloaded.

    Parameters
    ----------
    name : str
        The data set.
    folder : str
        Of the set in the cache.
    files : tuple of str
        Their names in it, in the order of ``sources``.
    sources : tuple of Source
    terms : str
        Whose the data are and under which licence: printed when something is downloaded.
    mend : str
        What else a user can do, for errors.
    progress : bool
        Whether to show a bar and print the terms.

    Raises
    ------
    MissingData
        Where pooch is not installed, the address cannot be reached, or what comes is not the file that is wanted.
    """
    if importlib.util.find_spec("pooch") is None:
        raise MissingData(f"The data set {name!r} is not on this machine: {mend} Or let it be downloaded: pip install 'bayesglm[data]', which brings pooch.")
    place = cache() / folder
    if progress and not all((place / file).is_file() for file in files):
        print(f"Downloading the data set {name!r} into {place}. {terms}")
    return [_fetched(name, source, place, file, mend, progress) for file, source in zip(files, sources, strict=True)]


def _fetched(name: str, source: Source, place: Path, file: str, mend: str, progress: bool) -> Path:
    """One file. pooch writes beside its place, checks, and moves it there; a damaged copy in the cache is fetched again."""
    import pooch
    import requests

    fetch = pooch.HTTPDownloader(progressbar=progress, timeout=_WAIT)
    own = f"Or fetch {source.url} in another way, and: {mend}"
    try:
        with _quiet(pooch.get_logger()):
            return Path(pooch.retrieve(source.url, f"sha256:{source.sha256}", fname=file, path=place, downloader=fetch))
    except requests.RequestException as error:
        raise MissingData(
            f"The data set {name!r} could not be downloaded from {source.url} ({_reason(error)}); nothing of {file} was kept. "
            f"Is this machine online? Load it again when it is. {own}"
        ) from error
    except ValueError as error:
        raise MissingData(
            f"What came from {source.url} is not the {file} of the data set {name!r}: its SHA-256 is not {source.sha256}. It was thrown away. "
            f"Load it again, in case something on the way changed it; if it stays so, the source has changed: please report it. {own}"
        ) from error
    except OSError as error:
        raise MissingData(f"The data set {name!r} could not be kept in {place} ({error}): make room there or let it be written. {own}") from error


def _reason(error: Any) -> str:
    return type(error).__name__ if error.response is None else f"it answers {error.response.status_code}"


@contextlib.contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Without pooch's notes on every step: the terms and the bar are enough."""
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
