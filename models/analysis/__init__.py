"""What searches have taught, in numbers and figures: importance, narrower spaces, plots, cards of families and
searches. Nothing else in `models/` imports it."""
