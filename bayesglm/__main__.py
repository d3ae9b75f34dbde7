"""``python -m bayesglm`` is the command ``bayesglm``."""

import sys

from bayesglm.cli import main

if __name__ == "__main__":
    sys.exit(main())
