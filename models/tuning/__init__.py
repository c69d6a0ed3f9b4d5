"""What searches are made of: a trial, the goal, the space, what a strategy is and may know, and parts that several
strategies share. May import `models.fitting` and what it may; no strategy and no family."""
