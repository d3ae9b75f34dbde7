"""What a family refuses: responses outside its support, and arguments that mean nothing."""

from __future__ import annotations

import numpy as np
import numpyro.distributions as dist
import pytest

from bayesglm import family


@pytest.mark.parametrize(
    ("made", "values", "said"),
    [
        (family.Bernoulli(), [-1, 1], r"'choice' holds the values -1, 1; .*wants 0 and 1: .*choice == 1"),
        (family.Bernoulli(), [1, 2], r"choice == 2"),
        (family.Bernoulli(), [0.0, 0.5, 1.0], r"wants 0 and 1"),
        (family.Bernoulli(), [0, 1, 3], r"family\.Poisson\(\).*narrower bins"),
        (family.Bernoulli(), [-1, 0, 1], r"code it 0 and 1"),
        (family.Bernoulli(), [0.0, np.inf], r"infinite"),
        (family.Poisson(), [0, -2], r"'choice'.*-2.*whole numbers from 0 up.*family\.Gaussian"),
        (family.Poisson(), [0.5, 1.0], r"0\.5"),
        (family.Poisson(), [1.0, np.inf], r"inf"),
        (family.Gaussian(), [1.0, np.inf], r"infinite"),
        (family.StudentT(), [1.0, np.inf], r"infinite"),
        (family.NegativeBinomial(), [0.5], r"0\.5.*NegativeBinomial"),
        (family.ZeroInflatedPoisson(), [-1], r"-1.*ZeroInflatedPoisson"),
        (family.Gamma(), [1.0, 0.0, 2.0], r"1 values that are not positive \(such as 0\).*family\.Gaussian"),
        (family.Binomial(5), [0, 6], r"6 successes among trials=5"),
        (family.Binomial(5), [0.5], r"0\.5.*Binomial"),
        (family.Categorical(), [0, 1, 3], r"the classes 0, 1, 3; family\.Categorical.*return_inverse.*classes=K"),
        (family.Categorical(3), [0, 3], r"class 3; .*3 classes wants the codes 0 to 2"),
        (family.Ordinal(), [1, 2, 3], r"family\.Ordinal wants all of 0 to K - 1"),
        (family.Ordinal(), [0.0, 1.5], r"no classes \(such as 1\.5\)"),
        (family.VonMises(), [0.1, 0.2], r"'choice' is not marked as an angle.*bg\.angle\(values, period=360\)"),
    ],
)
def test_responses_outside_the_support(made: family.AbstractFamily, values: list, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        made.resolve("choice", np.array(values))


@pytest.mark.parametrize(
    ("made", "values"),
    [
        (family.Bernoulli(), np.array([True, False])),
        (family.Bernoulli(), np.array([0.0, 1.0, np.nan])),
        (family.Bernoulli(), np.array([1, 1])),
        (family.Poisson(), np.array([0, 3], np.uint8)),
        (family.Poisson(), np.array([0.0, 3.0, np.nan])),
        (family.Gaussian(), np.array([-1.0, 2.5])),
    ],
)
def test_responses_inside_the_support(made: family.AbstractFamily, values: np.ndarray) -> None:
    assert made.resolve("choice", values) == made


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: family.Poisson("log"), "exp.*softplus"),
        (lambda: family.Bernoulli("exp"), "logit.*probit.*cloglog"),
        (lambda: family.Gaussian(-1.0), "positive"),
        (lambda: family.Gaussian("evidence_"), "evidence"),
        (lambda: family.Gaussian("evidence"), "priors of weights"),
        (lambda: family.NegativeBinomial(0.0), r"NegativeBinomial\(dispersion=0\.0\).*positive"),
        (lambda: family.NegativeBinomial(dist.Normal(0, 1)), "positive numbers.*HalfNormal"),
        (lambda: family.NegativeBinomial(dist.HalfNormal(np.ones(2))), "scalar"),
        (lambda: family.ZeroInflatedPoisson(1.0), "between 0 and 1"),
        (lambda: family.ZeroInflatedPoisson(dist.HalfNormal(1.0)), "between 0 and 1.*Beta"),
        (lambda: family.StudentT(df=-1.0), r"df=-1\.0"),
        (lambda: family.Gamma("inverse"), "'log'"),
        (lambda: family.Gamma(shape="learned"), "number or a NumPyro distribution"),
        (lambda: family.Binomial(0), r"trials=0\).*column"),
        (lambda: family.Binomial(2.5), r"trials=2\.5"),
        (lambda: family.Binomial(3, "log"), "logit.*cloglog"),
        (lambda: family.Categorical(1), "two classes"),
        (lambda: family.Categorical(3, labels=("left", "right")), "2 labels for classes=3"),
        (lambda: family.Ordinal(3, link="cloglog"), "logit.*probit"),
        (lambda: family.Ordinal(3, cutpoints=(1.0, 0.0)), "increase"),
        (lambda: family.Ordinal(3, cutpoints=(1.0,)), "K - 1"),
        (lambda: family.Ordinal(3, cutpoints=dist.HalfNormal(1.0)), "real line.*Normal"),
        (lambda: family.VonMises(-1.0), "360 for degrees"),
    ],
)
def test_bad_arguments(make: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
