"""Optuna's own tests of samplers, over every strategy that draws by one."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
from optuna.testing import pytest_samplers as optuna_tests

from models.families import load_family
from models.fitting.family import Shape
from models.metrics.metric import make_metric
from models.search import load_strategies
from models.tuning.strategy import View

SHAPE = Shape(500, 12, "binary", 2)
VIEW = View(load_family("lightgbm"), SHAPE, make_metric(None, "binary", ("a", "b")), (), 7, 7, expected=40)
ALL = [s for s in load_strategies().values() if s.available]
SLOW = [s.name for s in ALL if s.extra == "bayes"]
# Of the strategies that only plan, one stands for all: they leave nothing, or chance, to the same sampler.
QUICK = list({type(s.sampler(VIEW)): s.name for s in ALL if s.name not in SLOW}.values())


def makes(names, **changes):
    """A fixture of a function that makes a strategy's sampler, as the study would."""

    @pytest.fixture(params=names)
    def sampler(self, request):
        def made():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return load_strategies()[request.param].sampler(replace(VIEW, **changes))

        return made

    return sampler


class TestEverySampler(optuna_tests.BasicSamplerTestCase):
    sampler = makes(QUICK)


class TestSamplersThatLearn(optuna_tests.RelativeSamplerTestCase):
    # The others draw their first trials by chance, and the tests look at no later ones.
    sampler = makes([name for name in QUICK if name == "cmaes"])


class TestSamplersOfSeveralObjectives(optuna_tests.MultiObjectiveSamplerTestCase):
    sampler = makes([n for n in QUICK if load_strategies()[n].several], directions=("maximize", "minimize", "minimize"))


class TestSamplersOfOneObjective(optuna_tests.SingleOnlySamplerTestCase):
    # What only plans for one objective leaves nothing to its sampler that hangs on how many there are.
    sampler = makes([n for n in QUICK if not load_strategies()[n].several])


@pytest.mark.prove
class TestEverySlowSampler(optuna_tests.BasicSamplerTestCase):
    sampler = makes(SLOW)


@pytest.mark.prove
class TestSlowSamplersOfSeveralObjectives(optuna_tests.MultiObjectiveSamplerTestCase):
    sampler = makes(SLOW, directions=("maximize", "minimize"))
