"""The search strategies against each other, against random search and against what the field uses.

collect.py      Sobol configurations of families on tables, every inner fold's score and seconds   -> data/
surrogate.py    a random forest of them, as good as a table of all configurations
race.py         every strategy drives a study against the surrogates, many seeds in minutes
differential.py a strategy that is measured and not Nestor's
rerun.py        some strategies with real fits
field.py        other tools on the same folds; competitor.py runs in their environments
report.py       regret, ranks, which strategies do not beat random
"""
