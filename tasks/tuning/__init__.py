"""The searches: one family on one outer fold, and what is picked where more than the metric counts. May import
`tasks.planning` and what it may."""
