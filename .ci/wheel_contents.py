"""Fail unless a wheel holds exactly the package files that git holds."""

import subprocess
import sys
import zipfile


def expected() -> set[str]:
    """Paths inside the wheel of every tracked file of the package; models/ installs as bayesglm/models."""
    listed = subprocess.run(["git", "ls-tree", "-r", "--name-only", "HEAD", "bayesglm", "models"], capture_output=True, text=True, check=True).stdout.split()
    return {f"bayesglm/{path}" if path.startswith("models/") else path for path in listed}


def main(wheel: str) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    wanted = expected()
    if held != wanted:
        sys.exit(f"{wheel} lacks {sorted(wanted - held)} and holds {sorted(held - wanted)} that git does not: see [tool.setuptools] in pyproject.toml.")
    print(f"{len(held)} files")


if __name__ == "__main__":
    main(sys.argv[1])
