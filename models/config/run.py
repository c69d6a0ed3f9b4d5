"""One training run's settings."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from models.config.values import Data, Duration, Names, Settings

Kind = Literal["number", "category", "boolean", "date", "text", "id", "drop"]


class Split(Settings):
    """How rows are divided: the same plan at every level (sealed, outer, inner, early stopping)."""

    outer: int | None = Field(default=None, ge=2, le=20)
    """Outer folds; empty: from the table's shape and the time there is."""
    inner: int | None = Field(default=None, ge=1, le=20)
    """Inner folds; empty: from the table's shape and the time there is."""
    group: str | None = None
    """A column whose equal values are never on both sides of any split."""
    time: str | None = None
    """A column of times: earlier rows train, later rows judge, everywhere."""
    gap: int = Field(default=0, ge=0)
    """With `time`: how many rows (in order of time) are left out between training and judging."""
    id: Names = ()
    """Columns that name a row; else a row is known by its features."""
    copies: Literal["auto", "together", "apart"] = "auto"
    """Whether rows with equal features and target stay on one side of every fold."""
    sealed: float | None = Field(default=None, ge=0, lt=0.9)
    """Share of rows in the sealed test set; empty: 20 % for small tables, less for large ones; 0: none."""
    test_column: str | None = None
    """A column that is true (or `test`) in the rows to seal, instead of a drawn test set."""


class Search(Settings):
    """How each family's hyperparameters are searched."""

    strategy: str = "tpe"
    """The search strategy; `nestor searches` lists them."""
    trials: int | None = Field(default=None, ge=1)
    """Configurations per study (family and fold). With it runs repeat to the last digit; excludes a budget."""
    families: Names = ()
    """The families to consider; empty: all that suit the table. `nestor families` lists them."""
    warm_from: str | None = None
    """A run (its id, or a model's name: its newest run) whose best configurations are tried right after each default.
    The estimate then may flatter, and the test score is the number to publish."""


class Budget(Settings):
    """What a run may use."""

    seconds: Duration | None = Field(default=None, gt=0)
    """Wall time of the whole command, such as 90s, 10m or 1h30m. Without budget and trials: 10m."""
    workers: int | None = Field(default=None, ge=1)
    """Processes that fit models; empty: one for each core."""
    memory: float | None = Field(default=None, gt=0)
    """GB of memory for one fit; empty: an even share of what is free when the run starts."""


class Final(Settings):
    """What is delivered once everything is chosen."""

    deliver: Literal["auto", "bag", "refit"] = "auto"
    """`bag`: the models of the outer folds, averaged. `refit`: one more search and fit on all work rows. `auto`: bag,
    but refit for time plans."""
    rows: Literal["auto", "work", "all"] = "auto"
    """`all`: the fixed configuration is fitted once more with the sealed rows; its tested twin is kept. `auto`: work,
    but all for time plans."""


class Run(Settings):
    """One training run: a table in, a registered model and an honest estimate out."""

    data: Data
    """A csv or parquet path (compressed csv too; `%Y-%m-%d` in it: the newest file that fits), `sklearn:NAME`, a
    database address with `query`, or in Python a DataFrame."""
    target: str | None = None
    """The column to predict; may be left out for `sklearn:NAME`."""
    query: str | None = None
    """SQL, where the data is a database address. `:name` in it is bound from `bound`, never pasted."""
    bound: dict[str, str] = {}
    """Values for the query's `:name`s. `today`, `today-7d` and `now-12h` become dates when the run begins."""
    test: Data | None = None
    """A table of its own that is the sealed test set."""
    name: str | None = Field(default=None, pattern=r"^[^/:.%\"'\s][^/:%\"']*$", max_length=100)
    """The model's name in the registry; empty: the file's stem."""
    task: Literal["binary", "multiclass", "regression"] | None = None
    """What kind of target it is; empty: seen from its values."""
    metric: str | None = None
    """A scikit-learn scorer's name, or `module:attribute` of a scorer; empty: roc_auc, log_loss or rmse by task."""
    positive: str | None = None
    """The label of the positive class of a binary target."""
    weight: str | None = None
    """A column of row weights: they count in every fit and in every score."""
    drop: Names = ()
    """Columns not to use."""
    types: dict[str, Kind] = {}
    """Column kinds that overrule what the reader infers."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """The same seed, table and number of trials give the same result to the last digit."""
    split: Split = Split()
    search: Search = Search()
    budget: Budget = Budget()
    final: Final = Final()

    @model_validator(mode="before")
    @classmethod
    def _short_budget(cls, values: Any) -> Any:
        """Lets `budget="5m"` stand for `budget={"seconds": "5m"}`."""
        if isinstance(values, dict) and isinstance(values.get("budget"), (str, int, float)):
            values = {**values, "budget": {"seconds": values["budget"]}}
        return values

    @model_validator(mode="after")
    def _one_measure(self) -> Run:
        if self.budget.seconds is not None and self.search.trials is not None:
            raise ValueError("give a budget of time or a number of trials, not both")
        if self.final.deliver == "bag" and self.final.rows == "all":
            raise ValueError("rows: all fits one configuration once more, so it goes with deliver: refit, not with bag")
        return self

    @property
    def seconds(self) -> float | None:
        """The wall time there is; None when a number of trials is asked for instead."""
        if self.search.trials is not None:
            return None
        return self.budget.seconds or 600.0
