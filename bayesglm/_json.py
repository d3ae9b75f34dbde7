"""Nouns as versioned JSON and back, exactly: no pickle, no evaluation, no import of a name that a file gives."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import equinox as eqx
import jax
import numpy as np
from numpyro.distributions import Distribution

from bayesglm._registry import LAWS, kind_class, kind_of, law_class

FORMAT = 1
_SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}  # JSON has no words for these
_KINDS = "biufU"  # array types whose entries JSON holds exactly


class Unwritable(ValueError):
    """Something without a JSON form, such as a function or a class of the user's own."""


def to_json(value: Any) -> str:
    """A noun, dict or tuple as JSON text: ``{"format": 1, "kind": "GLM", "fields": {...}}``.

    Parameters
    ----------
    value : object
        Nouns of the package, NumPyro distributions of the allow-list, arrays, numbers, text, None, tuples, lists and
        dicts of these.

    Returns
    -------
    str
        ASCII; arrays carry dtype and shape, floats their shortest exact decimal.

    Raises
    ------
    Unwritable
        Where something in it has no such form; the sentence names it.

    Examples
    --------
    >>> from bayesglm import prior
    >>> to_json(prior.ElasticNet(1.0, 2.0))
    '{"format": 1, "kind": "prior.ElasticNet", "fields": {"l1": 1.0, "l2": 2.0}}'
    """
    encoded = _encode(value)
    if not isinstance(encoded, dict):
        raise Unwritable(f"{type(value).__name__} stands for itself in JSON and has no version: put it into a dict.")
    return json.dumps({"format": FORMAT, **encoded}, allow_nan=False)


def from_json(text: str) -> Any:
    """What ``to_json`` wrote.

    Raises
    ------
    ValueError
        Where the text is no JSON or was changed, its format is newer than this version of bayesglm, or it names a kind
        or a distribution that is not known.
    """
    try:
        document = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"This is not the JSON of a bayesglm noun ({error}): the file is damaged.") from error
    check_format(document.pop("format", None) if isinstance(document, dict) else None)
    try:
        return _decode(document)
    except (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError) as error:
        raise ValueError(f"The JSON does not describe a bayesglm noun ({type(error).__name__}: {error}): the file was changed.") from error


def check_format(found: Any) -> None:
    """Raise where a format number is missing, or newer than this version can read."""
    if isinstance(found, bool) or not isinstance(found, (int, np.integer)) or found < 1:
        raise ValueError(f"The format number is {found!r}; bayesglm writes {FORMAT}: the file was changed, or was not written by bayesglm.")
    if found > FORMAT:
        raise ValueError(f"The file has format {found}, this version of bayesglm reads up to {FORMAT}: upgrade bayesglm.")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _encode(value: Any) -> Any:
    if isinstance(value, np.generic):  # before float, of which np.float64 is a subclass
        return {"scalar": _entries(np.asarray(value))[0], "dtype": _dtype_name(value.dtype)}
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (np.ndarray, jax.Array)):
        name = _dtype_name(value.dtype)
        return {"array": _entries(np.asarray(value)), "dtype": name, "shape": list(value.shape)}
    if isinstance(value, Distribution):
        return _encode_law(value)
    return _encode_container(value)


def _encode_container(value: Any) -> Any:
    if type(value) is tuple:
        return {"tuple": [_encode(entry) for entry in value]}
    if type(value) is list:
        return [_encode(entry) for entry in value]
    if type(value) is dict and all(isinstance(key, str) for key in value):
        return {"dict": {key: _encode(entry) for key, entry in value.items()}}
    kind = kind_of(type(value))
    if kind is None:
        raise Unwritable(f"{_describe(value)} has no form in a file: only the package's own classes and plain values have.")
    # A field that its constructor never sets (a basis of values has no span) is no attribute of the instance.
    own = [name for name in _field_names(type(value)) if isinstance(value, tuple) or name in vars(value)]
    return {"kind": kind, "fields": {name: _encode(getattr(value, name)) for name in own}}


def _describe(value: Any) -> str:
    if callable(value) and hasattr(value, "__name__") and not isinstance(value, eqx.Module):
        return f"the function {value.__name__!r}"
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _field_names(cls: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(cls)) if dataclasses.is_dataclass(cls) else cls._fields


def _encode_law(law: Distribution) -> dict[str, Any]:
    name = type(law).__name__
    if name not in LAWS or law_class(name) is not type(law):
        raise Unwritable(f"the distribution {name} has no form in a file; those that have are {', '.join(LAWS)}.")
    return {"law": name, "parameters": {key: _encode(getattr(law, key)) for key in LAWS[name]}}


def _dtype_name(dtype: np.dtype) -> str:
    if dtype.kind not in _KINDS or (dtype.kind == "f" and dtype.itemsize > 8):
        raise Unwritable(f"an array of type {dtype} has no form in a file: numbers, booleans and text have.")
    return dtype.str


def _entries(array: np.ndarray) -> list[Any]:
    flat = array.ravel().tolist()
    return flat if array.dtype.kind != "f" or np.isfinite(array).all() else [x if math.isfinite(x) else repr(x) for x in flat]


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    for tag, decode in _DECODERS.items():
        if tag in value:
            return decode(value)
    raise ValueError(f"A value with the entries {list(value)[:5]} is not known: the file was changed, or is from a later version of bayesglm.")


def _decode_array(value: dict[str, Any]) -> np.ndarray:
    dtype = np.dtype(value["dtype"])
    if dtype.kind not in _KINDS:
        raise ValueError(f"An array of type {dtype} is not one that a file may hold: the file was changed.")
    entries = value["array"]
    if dtype.kind == "f":
        entries = [_SPECIAL[x] if isinstance(x, str) else x for x in entries]
    return np.array(entries, dtype).reshape(value["shape"])


def _decode_law(value: dict[str, Any]) -> Distribution:
    cls = law_class(value["law"])
    parameters = {name: _decode(value["parameters"][name]) for name in LAWS[value["law"]]}
    wide = any(getattr(parameter, "dtype", None) == np.float64 for parameter in parameters.values())
    with jax.enable_x64(wide):  # a distribution that makes arrays of its parameters keeps the precision it was made in
        return cls(**parameters)


def _decode_kind(value: dict[str, Any]) -> Any:
    cls = kind_class(value["kind"])
    fields = {name: _decode(entry) for name, entry in value["fields"].items()}
    if unknown := set(fields) - set(_field_names(cls)):
        raise ValueError(f"{value['kind']} has no field {min(unknown)!r} in this version of bayesglm: upgrade it, or see whether the file was changed.")
    return _built(cls, fields) if dataclasses.is_dataclass(cls) else cls(**fields)


def _built(cls: type, fields: dict[str, Any]) -> Any:
    """An instance with these fields, checked as by its constructor but not resolved or renamed again by it."""
    made = object.__new__(cls)
    for field in dataclasses.fields(cls):
        if field.name in fields or field.init:
            convert = field.metadata.get("converter", lambda same: same)
            object.__setattr__(made, field.name, convert(_value(cls, field, fields)))
    for parent in reversed(cls.__mro__):
        if "__check_init__" in vars(parent):
            parent.__check_init__(made)
    return made


def _value(cls: type, field: dataclasses.Field, fields: dict[str, Any]) -> Any:
    """The field's value; a field that came with a later version has its default in an older file."""
    if field.name in fields:
        value = fields[field.name]
        # The very object, because Equinox leaves out of a repr what is identical with its default.
        return field.default if type(value) is type(field.default) and repr(value) == repr(field.default) else value
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    raise ValueError(f"{cls.__name__} lacks its field {field.name!r}: the file was changed.")


_DECODERS = {
    "kind": _decode_kind,
    "law": _decode_law,
    "array": _decode_array,
    "scalar": lambda value: _decode_array({"array": [value["scalar"]], "dtype": value["dtype"], "shape": []})[()],
    "float": lambda value: _SPECIAL[value["float"]],
    "tuple": lambda value: tuple(_decode(entry) for entry in value["tuple"]),
    "dict": lambda value: {key: _decode(entry) for key, entry in value["dict"].items()},
}
