"""How programs are compiled: what runs once should compile fast, what loops over the data should run fast."""

from __future__ import annotations

import functools

import equinox as eqx

# Half the compile time for code that is not vectorised: right for set-up and unpacking, wrong for loops over rows.
compiled_quickly = functools.partial(eqx.filter_jit, compiler_options={"xla_llvm_disable_expensive_passes": True})
