"""Meta-learning: tries first what was good on other tables, those like this one before others, and goes on as tpe."""

from __future__ import annotations

from models.tuning.parzen import make_parzen_sampler
from models.tuning.portfolio import plan_portfolio
from models.tuning.strategy import Strategy

STRATEGY = Strategy(
    name="portfolio",
    suits="few configurations: begins with those that were good on other tables, the most alike first, then as tpe",
    cost="nothing to speak of; pays from the first trial on",
    sampler=make_parzen_sampler,
    plan=plan_portfolio,
    several=True,
    source="greedy portfolios: Feurer et al. 2022, Auto-sklearn 2.0, JMLR 23:261; Wistuba et al. 2015, DSAA; "
    "benchmarks/portfolio.py",
)
