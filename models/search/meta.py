"""Meta-learning and transfer: tries first what an earlier run of the same model, or of one like it, found best, then
what was good on other tables, and goes on as tpe."""

from __future__ import annotations

from models.tuning.parzen import make_parzen_sampler
from models.tuning.portfolio import plan_portfolio
from models.tuning.strategy import Strategy

STRATEGY = Strategy(
    name="meta",
    suits="another run of a model: begins with the best that its newest run in MLflow found (a first run: that of the "
    "model with the most columns in common), then goes on as portfolio",
    cost="nothing to speak of; the estimate may flatter, as after every warm start",
    sampler=make_parzen_sampler,
    plan=plan_portfolio,
    several=True,
    remembers=True,
    source="Feurer et al. 2015, Initializing Bayesian hyperparameter optimization via meta-learning, AAAI; "
    "Perrone et al. 2018, NeurIPS",
)
