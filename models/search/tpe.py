"""Tree-structured Parzen estimators: learns where the good configurations so far lie densely and where the bad ones do,
and proposes where the good outweigh the bad."""

from __future__ import annotations

from models.tuning.parzen import make_parzen_sampler
from models.tuning.strategy import Strategy

STRATEGY = Strategy(
    name="tpe",
    suits="numbers, choices and conditions alike; good from about ten configurations on",
    cost="milliseconds a trial; pays from about ten trials",
    sampler=make_parzen_sampler,
    several=True,
    source="Bergstra et al. 2011, NeurIPS; Watanabe 2023, arXiv:2304.11127; several objectives: MOTPE, Ozaki et al. "
    "2022, JAIR 73:1209; Optuna's TPESampler",
)
