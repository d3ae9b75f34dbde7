"""The command ``bayesglm``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from bayesglm import __version__


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    made = argparse.ArgumentParser(prog="bayesglm", description="The Bayesian GLM toolkit for neuroscience.")
    made.add_argument("--version", action="version", version=f"bayesglm {__version__}")
    commands = made.add_subparsers(dest="command", metavar="COMMAND")
    demo = commands.add_parser(
        "demo",
        help="fit a grasshopper's auditory receptor and draw its filters",
        description="Fit 10 s of a grasshopper's auditory receptor with and without its spike history, by MAP and by NUTS; "
        "print diagnostics, held-out bits/spike and a comparison; write the figures.",
    )
    demo.add_argument("--out", metavar="DIR", default="demo_output", help="folder of the figures (default: %(default)s)")
    demo.add_argument("--quiet", action="store_true", help="no progress bars")
    report = commands.add_parser(
        "report",
        help="write a page about a saved fit",
        description="Write one HTML page about a fit that bg.save(fit, path, data=True) wrote: what was fitted, whether to believe it, what was found.",
    )
    report.add_argument("fit", metavar="FIT", help="file written by bg.save")
    report.add_argument("--out", metavar="PAGE", help="where to write (default: the fit's name with .html)")
    report.add_argument("--test", metavar="RECORDING", help="a test recording, written by data.to_netcdf(...): checks are then held out")
    report.add_argument("--no-refit", action="store_true", help="leave out what fits the model again (drift, moving couplings)")
    report.add_argument("--quiet", action="store_true", help="no progress bars")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the return value is its exit status.

    Examples
    --------
    >>> main([])  # doctest: +ELLIPSIS
    usage: bayesglm [-h] [--version] COMMAND ...
    ...
    2
    """
    chosen = parser().parse_args(arguments)
    if chosen.command is None:
        parser().print_help()
        return 2
    return _report(chosen) if chosen.command == "report" else _demo(chosen.out, not chosen.quiet)


def _demo(out: str, progress: bool) -> int:
    import matplotlib

    from bayesglm import _demo
    from bayesglm.datasets import MissingData

    matplotlib.use("Agg")  # figures go to files: no display is needed
    try:
        _demo.run(out, progress=progress)
    except MissingData as missing:
        print(missing, file=sys.stderr)
        return 1
    return 0


def _report(chosen: argparse.Namespace) -> int:
    from pathlib import Path

    import matplotlib
    import xarray as xr

    import bayesglm as bg

    matplotlib.use("Agg")
    try:
        fit = bg.load(chosen.fit)
        test = None if chosen.test is None else xr.load_dataset(chosen.test)
        written = bg.report(fit, chosen.out or Path(chosen.fit).with_suffix(".html"), test, refit=not chosen.no_refit, progress=not chosen.quiet)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(written)
    return 0
