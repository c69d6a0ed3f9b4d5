"""How rows are divided: sealed rows, outer and inner folds, how many a budget is enough for. May import
`models.tuning`, `models.checks` and what these may."""
