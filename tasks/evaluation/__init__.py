"""From studies to numbers: refits, ensembles, the estimate, the one opening of the sealed rows, the model to deliver.
May import `tasks.tuning` and what it may."""
