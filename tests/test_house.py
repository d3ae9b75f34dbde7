"""The house's own rules: layers, lengths, a light face, a complete registry, packages as listed."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from registry import KINDS, public_classes

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "bayesglm"
LONGEST_FILE, LONGEST_FUNCTION = 300, 50  # lines, docstrings apart
LAYERS = (
    ("_data", "_convolve", "_double", "basis", "prior", "family"),
    ("terms", "_model", "_story", "_glm_parts", "_glm", "_function"),
    ("engine",),
    ("method",),
    ("_labels", "_fit", "_convergence", "_examine", "_show", "_progress", "_store", "_json", "_netcdf", "_registry", "_training"),
    (),  # every other module: the verbs over a fit
    ("_plot", "_report", "_demo", "cli", "__main__", "__init__"),
)
VERBS = LAYERS.index(())
HEAVY = ("jax", "numpyro", "xarray", "equinox", "arviz", "arviz_base", "matplotlib", "scipy", "numpy")
FORBIDDEN = {"engine": ("bayesglm.terms", "bayesglm._glm", "arviz", "xarray"), "method": ("bayesglm.terms", "bayesglm._glm", "arviz", "xarray")}

MODULES = sorted(PACKAGE.rglob("*.py"))
SOURCES = [*MODULES, *sorted((ROOT / "models").rglob("*.py"))]


def ids(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def layer(module: str) -> int:
    """Layer of ``_data/_bins.py`` or of ``bayesglm._data._bins``."""
    name = module.removeprefix("bayesglm.").split(".")[0]
    return next((i for i, names in enumerate(LAYERS) if name in names), VERBS)


def imported(nodes: list[ast.stmt] | Iterator[ast.AST]) -> Iterator[str]:
    """Dotted names of what some statements import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"bayesglm.{alias.name}" for alias in node.names) if node.module == "bayesglm" else (node.module or "",)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith((f"{package}.", f"{package}_"))


@pytest.mark.parametrize("path", MODULES, ids=ids(MODULES))
def test_modules_import_downwards(path: Path) -> None:
    """Imports at the top of a module reach its own layer or a lower one; those inside functions and for types are free."""
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    tree = ast.parse(path.read_text())
    upwards = [name for name in imported(tree.body) if name.startswith("bayesglm.") and layer(name) > layer(own)]
    assert not upwards


@pytest.mark.parametrize("path", MODULES, ids=ids(MODULES))
def test_nothing_reaches_where_it_must_not(path: Path) -> None:
    """At any level: no models in the package; no terms, ArviZ or xarray in engine and methods; no relative imports."""
    tree = ast.parse(path.read_text())
    names = list(imported(ast.walk(tree)))
    assert not [name for name in names if within(name, "models") or within(name, "bayesglm.models")]
    own = path.relative_to(PACKAGE).parts[0]
    assert not [name for name in names for bad in FORBIDDEN.get(own, ()) if within(name, bad)]
    assert not any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree))


def code_lines(node: ast.AST, text: list[str]) -> set[int]:
    """Lines that are neither blank nor a docstring."""
    first, last = getattr(node, "lineno", 1), getattr(node, "end_lineno", len(text))
    lines = {i for i in range(first, last + 1) if text[i - 1].strip()}
    for inner in ast.walk(node):
        if isinstance(inner, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(inner) is not None:
            lines -= set(range(inner.body[0].lineno, inner.body[0].end_lineno + 1))
    return lines


@pytest.mark.parametrize("path", SOURCES, ids=ids(SOURCES))
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text().splitlines()
    tree = ast.parse("\n".join(text))
    assert len(code_lines(tree, text)) <= LONGEST_FILE
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        nested = [inner for inner in ast.walk(function) if isinstance(inner, ast.FunctionDef) and inner is not function]
        own = code_lines(function, text).difference(*(code_lines(inner, text) for inner in nested))
        assert len(own) <= LONGEST_FUNCTION, function.name


@pytest.mark.parametrize("path", SOURCES, ids=ids(SOURCES))
def test_abstract_variables_are_seen_by_equinox(path: Path) -> None:
    """Under postponed annotations an AbstractVar is a string, which equinox does not read."""
    tree = ast.parse(path.read_text())
    if not any(isinstance(node, ast.Attribute) and node.attr == "AbstractVar" for node in ast.walk(tree)):
        return
    futures = [alias.name for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__" for alias in node.names]
    assert "annotations" not in futures


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout


def test_the_face_is_light() -> None:
    """``import bayesglm`` and looking around in it load none of the heavy packages."""
    code = f"import sys, json, bayesglm; dir(bayesglm); print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    assert json.loads(run(code)) == []


def test_public_names_keep_their_type_after_all_imports() -> None:
    """A submodule that shared a verb's name would take its place in the package."""
    code = """
import importlib, pkgutil, json, bayesglm
before = {name: type(getattr(bayesglm, name)).__name__ for name in bayesglm.__all__}
for found in pkgutil.walk_packages(bayesglm.__path__, "bayesglm."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
after = {name: type(getattr(bayesglm, name)).__name__ for name in bayesglm.__all__}
print(json.dumps([name for name in before if before[name] != after[name]]))
"""
    assert json.loads(run(code)) == []


def test_the_face_tells_type_checkers_what_it_loads() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    told = {alias.asname or alias.name for node in guarded.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    import bayesglm

    assert told == set(bayesglm.__all__) - {"models"}
    assert set(dir(bayesglm)) >= told
    with pytest.raises(AttributeError, match="no attribute 'Connectivity'"):
        bayesglm.Connectivity  # noqa: B018


def test_packages_are_listed_as_they_are() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    tracked = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "bayesglm", "models"], capture_output=True, text=True, check=False, cwd=ROOT)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    folders = {Path(line).parent for line in tracked.stdout.splitlines() if line.endswith(".py")}
    names = {".".join(("bayesglm", *folder.parts) if folder.parts[0] == "models" else folder.parts) for folder in folders}
    assert sorted(listed) == sorted(names)
    assert all((ROOT / folder / "__init__.py").exists() for folder in folders)


@pytest.mark.parametrize("kind", KINDS)
def test_the_registry_is_complete(kind: str) -> None:
    module, base, table = KINDS[kind]
    assert set(table) == public_classes(module, base)
    assert all(table.values())


def test_double_precision_is_a_context_that_leaves_the_users_settings_alone():
    """Inside it float32 products are not rounded to TF32 either, where a device would."""
    import jax
    import jax.numpy as jnp

    from bayesglm._double import double

    single = jnp.ones((2, 2), jnp.float32)
    with double():
        assert jnp.ones(1).dtype == jnp.float64
        assert "HIGHEST" in str(jax.make_jaxpr(jnp.matmul)(single, single))
    assert jnp.ones(1).dtype == jnp.float32
    assert "HIGHEST" not in str(jax.make_jaxpr(jnp.matmul)(single, single))
