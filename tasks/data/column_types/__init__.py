"""What a column's text stands for: numbers, dates, durations, categories, and the target."""
