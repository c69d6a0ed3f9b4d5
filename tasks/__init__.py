"""One stage per module, around the pure functions of `models`: files, processes and clocks are here. As tasks of
Prefect the stages stand in `stages/`."""
