"""Coverage of comparisons on simulated recordings with slow covariates: writes results/comparison_study.json.

python benchmarks/comparison.py            200 recordings, a few minutes on two cores
python benchmarks/comparison.py 6          a quick look
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from studies import comparison
from studies.record import keep

RECORDINGS, SEED, WORKERS = 200, 17, 2


def main() -> None:
    """Run the study and print what it found."""
    recordings = int(sys.argv[1]) if len(sys.argv) > 1 else RECORDINGS
    began = time.perf_counter()
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(partial(comparison.one_recording, SEED), range(recordings)))
    figures = comparison.summary(found) | {"seconds": round(time.perf_counter() - began, 1)}
    print(json.dumps(figures, indent=1))
    if recordings == RECORDINGS:
        keep("comparison_study", figures)


if __name__ == "__main__":
    main()
