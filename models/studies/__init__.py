"""The inner loop: the study of one family on one fold, and what earlier studies hand
over. May import `models.search`, `models.families`, `models.tuning` and what these may."""
