"""From predictions to what is said of a model: ensembles, calibration, thresholds, estimates, intervals, the gate. May
import `models.splitting` and what it may."""
