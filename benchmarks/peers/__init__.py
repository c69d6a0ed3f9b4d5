"""Nestor beside its peers: same split, cores, budget and scorer, everything measured from outside.

catalogue.py     which tables, and which of them are for tuning and which for reporting
division.py      the held-out rows of a table and a seed, made before anything is run
judging.py       the scorer of the predictions that each system writes
systems.py       the systems: what is installed, what is called
environments.py  an environment of its own for each of them
scripts/         what runs inside those environments; nothing of this project is known there
running.py       one system on one table: its files, its clock; watching.py: its memory and core-seconds
rows.py          the rows that are there already, at the same version, machine and split
comparison.py    ranks, win rates, scaled scores; report.py: the tables of docs/results.md
"""
