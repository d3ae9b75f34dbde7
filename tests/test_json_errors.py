"""What has no JSON form, and text that was changed."""

import json

import numpy as np
import numpyro.distributions as dist
import pytest

from bayesglm import basis, prior
from bayesglm._json import FORMAT, Unwritable, from_json, to_json


class Ours(basis.RaisedCosine):
    """A class of the user's own, named like nothing in the package."""


class RaisedCosine(basis.RaisedCosine):
    """A class of the user's own with the package's name."""


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"f": np.exp}, "exp"),
        ({"f": lambda x: x}, "<lambda>"),
        (Ours(3), "Ours"),
        (RaisedCosine(3), "RaisedCosine"),
        ({"x": {1, 2}}, "set"),
        ({1: 2}, "dict"),
        (prior.Gaussian(dist.FoldedDistribution(dist.Normal(0.0, 1.0))), "FoldedDistribution"),
        ({"x": np.array([object()])}, "object"),
        ({"x": np.array(["2020-01-01"], "M8[D]")}, "datetime64"),
        ({"x": 1j}, "complex"),
    ],
    ids=lambda part: part if isinstance(part, str) else "value",
)
def test_what_has_no_form_is_named(value, named) -> None:
    with pytest.raises(Unwritable, match=named):
        to_json(value)


def changed(**entries) -> str:
    return json.dumps(json.loads(to_json(prior.Gaussian(0.5))) | entries)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "damaged"),
        ("{", "damaged"),
        ('{"format": 1, "float": NaN}', "NaN is not JSON"),
        ("[" * 100_000, "damaged"),
        ("[1]", "format number is None"),
        (changed(format=0), "format number is 0"),
        (changed(format=True), "format number is True"),
        (changed(format="1"), "format number is '1'"),
        (changed(format=FORMAT + 1), "upgrade"),
        (changed(kind="prior.Spike"), "'prior.Spike' is not known"),
        (changed(kind="prior.AbstractPrior"), "'prior.AbstractPrior' is not known"),
        (changed(kind="prior.ridge"), "'prior.ridge' is not known"),
        (changed(kind="os.system"), "'os.system' is not known"),
        (changed(kind="terms.__builtins__"), "is not known"),
        (changed(kind=3), "changed"),
        (changed(fields=3), "changed"),
        (changed(fields={"scale": 1.0, "skale": 1.0}), "no field 'skale'"),
        (changed(fields={"scale": -1.0}), "positive"),
        (changed(fields={"scale": {"law": "Delta", "parameters": {}}}), "'Delta' is not one"),
        (changed(fields={"scale": {"law": "HalfNormal", "parameters": {}}}), "changed"),
        (changed(fields={"scale": {"pickle": "gASV"}}), "pickle"),
        (changed(fields={"relative": {"array": [1], "dtype": "O", "shape": [1]}}), "object"),
        (changed(fields={"relative": {"array": [1], "dtype": "f8", "shape": [2]}}), "reshape"),
        (changed(fields={"relative": {"array": [300], "dtype": "u1", "shape": [1]}}), "changed"),
        (changed(fields={"relative": {"float": "1e3"}}), "changed"),
        ('{"format": 1, "kind": "family.Poisson", "fields": {"link": "log"}}', "links are"),
        ('{"format": 1, "kind": "terms.Sum", "fields": {}}', "lacks its field 'terms'"),
    ],
    ids=lambda value: value[:40],
)
def test_changed_or_newer_text_is_refused(text, says) -> None:
    with pytest.raises(ValueError, match=says):
        from_json(text)
