"""What is fixed before anything is tuned: the table read, checked and sealed, the families and folds, the studies. May
import `tasks.values` and what it may."""
