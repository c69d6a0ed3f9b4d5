"""The pure core: no Prefect, no MLflow, no files, no clock, no global state.

`models` means the mathematics of choosing and judging models. Fitted models never lie here: they are data, in
`mlruns/`.
"""
