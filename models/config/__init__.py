"""Everything a person may set, as frozen pydantic values: the command line, the config file and Prefect's form are
all drawn from here. The docstring under a field is what the form and `docs/config.md` show."""

from models.config.gate import Gate
from models.config.retrain import Retrain
from models.config.run import Budget, Final, Kind, OfFamily, Run, Search, Split, Tracking
from models.config.score import Score
from models.config.values import Settings, parse_duration
from models.config.watch import Watch

__all__ = [
    "Budget",
    "Final",
    "Gate",
    "Kind",
    "OfFamily",
    "Retrain",
    "Run",
    "Score",
    "Search",
    "Settings",
    "Split",
    "Tracking",
    "Watch",
    "parse_duration",
]
