"""A retraining's stages as plain functions.

source    what the data is: given, or as the last run had it, read anew
wanted    the Run to train: the last run's settings, what is to change, the champion's kinds
attempt   whether anything has changed, and what an interrupted attempt left
ending    how it ended, in words, for the page and for MLflow
notice    who is told
"""
