"""One training run's settings."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from models.config import form
from models.config.places import unfold_groups
from models.config.values import (  # fmt: skip
    Bound,
    ClassWeight,
    Configurations,
    Data,
    Duration,
    Kind,
    Kinds,
    Limits,
    ModelName,
    Name,
    Names,
    Orders,
    Pick,
    Prices,
    Ranges,
    Settings,
    Signs,
    Span,
    Steps,
    make_pairs_schema,
)

__all__ = ["Budget", "Final", "Kind", "OfFamily", "Run", "Search", "Split", "Tracking"]


def _make_choice_schema(package: str, many: bool = False) -> dict[str, Any]:
    """The schema of a name, or of several, from a drop-down. What else is given is refused with the known names."""
    schema = {"type": "string", "enum": form.list_modules(package)}
    return {"type": "array", "items": schema} if many else schema


class Split(Settings):
    """How rows are divided: the same plan at every level (sealed, outer, inner, early stopping)."""

    outer: int | None = Field(default=None, title="Outer folds", ge=2, le=20)
    """How many folds judge; empty: from the table's shape and the time there is."""
    inner: int | None = Field(default=None, title="Inner folds", ge=1, le=20)
    """How many folds choose, inside each outer one; empty: from the table's shape and the time there is."""
    group: Name | None = None
    """A column whose equal values are never on both sides of any split."""
    time: Name | None = None
    """A column of times: earlier rows train, later rows judge, everywhere."""
    horizon: Span | None = None
    """With `time`: how far ahead to forecast, in steps (24) or as a duration (24h, 7d). The past of the target and of
    the inputs, up to so long before each row, becomes columns; an input's value at the row itself does not count."""
    series: Name | None = None
    """With `time`: the column that tells the series of a panel apart. It may stand on both sides of a split."""
    known: Names = Field(default=(), title="Known ahead")
    """With `horizon`: inputs that are known ahead for each row, such as a calendar, a price or a weather forecast."""
    season: Span | None = None
    """With `horizon`: after how many steps, or what time, a series is like itself; empty: from the calendar."""
    gap: int | None = Field(default=None, ge=0)
    """With `time`: how many rows (in order of time) are left out between training and judging; empty: with `horizon`
    those whose targets are not known yet when the first judged row is forecast, else none."""
    id: Names = Field(default=(), title="Id columns")
    """Columns that name a row; else a row is known by its features."""
    copies: Literal["auto", "together", "apart"] = "auto"
    """Whether rows with equal features stay on one side of every split; auto: where they look like copies."""
    sealed: float | None = Field(default=None, title="Sealed share", ge=0, lt=0.9)
    """Share of rows in the sealed test set; empty: 20 % for small tables, less for large ones; 0: none."""
    salt: int | None = Field(default=None, ge=0, lt=100)
    """Which of 100 draws the sealed test set is; empty: as in the name's first run, which takes the evenest. Time plans
    draw nothing."""
    new_seal: bool = False
    """Seal other rows than the name has sealed so far, by today's columns and settings. It is written down with its
    reason, and what the gate counts begins anew. A name's first run needs it not."""
    test_column: Name | None = None
    """A column that is true (or `test`) in the rows to seal, instead of a drawn test set."""

    @model_validator(mode="after")
    def _refuse_without_time(self) -> Split:
        for name, other in (("horizon", "time"), ("series", "time"), ("known", "horizon"), ("season", "horizon")):
            if getattr(self, name) and not getattr(self, other):
                raise ValueError(f"{name} goes with {other}: give split.{other} (--{other}) too")
        return self


class Search(Settings):
    """How each family's hyperparameters are searched."""

    trials: int | None = Field(default=None, ge=1)
    """Instead of a budget of time: configurations per study (family and fold). The result then repeats to the last
    digit."""
    families: Annotated[Names, WithJsonSchema(_make_choice_schema("models.families", many=True))] = ()
    """The families to consider; empty: all that suit the table. `nestor families` lists them."""
    strategy: Annotated[str, WithJsonSchema(_make_choice_schema("models.search"))] = "auto"
    """The search strategy; `nestor searches` lists them."""
    warm_from: str | None = None
    """A run (its id, or a model's name: its newest run) whose best configurations are tried right after each default.
    The estimate then may flatter, and the test score is the number to publish."""
    objectives: Names = ()
    """What counts beside the metric: other metrics, `latency` (ms for one row), `size` (MB), `memory` (MB to train),
    `seconds` (to train), `gap:COLUMN` (equalized odds difference between its subgroups) or `parity:COLUMN`."""
    limits: Limits = {}
    """How much of an objective, or of the metric, there may be at most, or must be at least: `latency=5`, `size=10`."""
    pick: Pick | None = None
    """Which point of the Pareto front is delivered: `knee`, `limits` (the best metric within the limits) or weights
    such as `roc_auc=3,latency=1`; empty: the knee, without objectives the best metric within the limits."""

    @model_validator(mode="after")
    def _check_pick(self) -> Search:
        if self.pick is not None and not self.objectives and self.pick != "limits":
            raise ValueError("a knee or weights pick among objectives: give search.objectives (--objective) too")
        if self.pick == "limits" and not self.limits:
            raise ValueError("limits to pick by are missing: give search.limits (--limit latency=5) too")
        return self


class OfFamily(Settings):
    """What a family's search is told."""

    space: Ranges = Field(default={}, title="Search space")
    """Ranges in place of the family's own: `learning_rate: [0.01, 0.1, log]`, a list of choices, or one fixed value."""
    steps: Steps = Field(default={}, title="Steps of a grid")
    """For `grid`: how many values of a hyperparameter are tried, `learning_rate: 5`; one number holds for all; empty:
    3. Of choices all are tried."""
    configurations: Configurations = ()
    """For `manual`: configurations to try, in order; what one does not name stays at the default."""


def _unfold_families(value: object) -> object:
    return unfold_groups(value, dict[str, OfFamily])


Families = Annotated[dict[str, OfFamily], BeforeValidator(_unfold_families), make_pairs_schema(".+")]
"""What families' searches are told; in a form and in lists `lightgbm.space.learning_rate=0.01,0.1,log`."""


class Budget(Settings):
    """What a run may use."""

    seconds: Duration | None = Field(default=None, gt=0, title="Time")
    """Wall time of the whole run, such as 90s, 10m or 1h30m. Without budget and trials: 10m."""
    workers: int | None = Field(default=None, ge=1, le=1024)
    """Processes that fit models; empty: one for each core, as far as memory does for them."""
    memory: float | None = Field(default=None, gt=0)
    """GB of memory for one fit; empty: an even share of what is free when the run starts."""


class Final(Settings):
    """What is delivered once everything is chosen."""

    deliver: Literal["auto", "bag", "refit"] = "auto"
    """`bag`: the models of the outer folds, averaged. `refit`: one more search and fit on all work rows. `auto`: bag,
    but refit for time plans, with `rows: all`, and where `latency` or `size` is an objective or limited."""
    rows: Literal["auto", "work", "all"] = "auto"
    """`all`: the fixed configuration is fitted once more with the sealed rows, which takes a refit; its tested twin is
    kept. `auto`: work, but all for time plans."""
    calibrate: Literal["auto", "never", "always"] = "auto"
    """Whether probabilities are calibrated on inner rows. `auto`: for log_loss, brier and cost, where that is better by
    more than noise. `always`: the best way there is, whatever the metric."""
    threshold: Literal["auto", "never"] = "auto"
    """`auto`: from which probability on a binary target's positive class is said is chosen on inner rows, where the
    metric judges labels. `never`: the likelier class (with `costs` the cheaper one)."""


class Tracking(Settings):
    """Where a run can be looked at, beside MLflow, which holds every run and the models."""

    mirror: Annotated[Literal["wandb"], WithJsonSchema({"type": "string", "enum": ["wandb"]})] | None = None
    """`wandb`: the same runs in Weights & Biases too (extra `wandb`), in a project with the model's name.
    WANDB_MODE=offline only writes its files."""


def _adapt_run_schema(schema: dict[str, Any], model: type[Any]) -> None:
    form.adapt_schema(schema, model)
    schema |= form.make_exclusion_rule(("search", "trials"), ("budget", "seconds"), "a budget or trials, not both")


FIRST = (
    "data", "target", "name", "budget.seconds", "search.trials", "search.families", "metric", "drop", "split.group",
    "split.time",
)  # fmt: skip
"""What people set first: all that the short form of a run has."""


class Run(Settings):
    """One training run: a table in, a registered model and an honest estimate out."""

    model_config = ConfigDict(json_schema_extra=_adapt_run_schema)

    data: Data
    """A csv or parquet path (compressed csv too; `%Y-%m-%d` in it: the newest file that fits), a database
    address with `query`, or where one is kept (`env:NAME`, `secret:NAME`), `sklearn:NAME`, or in Python a DataFrame."""
    target: Name | None = None
    """The column to predict; may be left out for `sklearn:NAME`."""
    name: ModelName | None = None
    """The model's name in the registry; empty: the file's stem."""
    budget: Budget = Budget()
    search: Search = Search()
    families: Families = Field(default={}, title="Single families")
    """What single families' searches are told, by family: `lightgbm: {space: {learning_rate: [0.01, 0.1, log]}}`."""
    metric: str | None = None
    """What to optimize: a scikit-learn scorer's name such as `f1` or `neg_mean_absolute_error`, `pinball:0.9` for that
    quantile, `cost` with `costs`, or `module:attribute` of a scorer; empty: roc_auc, log_loss or rmse by task."""
    costs: Prices = {}
    """What wrong labels cost: `yes:no=5`, a yes that is taken for a no costs 5. What is not named costs 1, right labels
    0. The metric then is `cost`, the mean over rows, and each row gets the label of least expected cost."""
    class_weight: ClassWeight | None = None
    """`balanced`, or a weight for each label such as `yes=5`: multiplies row weights in fits, never in scores."""
    task: Literal["binary", "multiclass", "regression"] | None = None
    """What kind of target it is; empty: seen from its values."""
    positive: Name | None = Field(default=None, title="Positive class")
    """The label of the positive class of a binary target."""
    drop: Names = Field(default=(), title="Columns to drop")
    """Columns not to use."""
    types: Kinds = Field(default={}, title="Column kinds")
    """Column kinds that overrule what the reader infers: `zip=category`. Kinds: number, category, ordered, boolean,
    date (day-first, month-first), duration, text, key, id, drop."""
    order: Orders = Field(default={}, title="Orders of levels")
    """The levels of ordered categories, lowest first: `size=S,M,L`."""
    grid: str | None = Field(default=None, pattern=r"^ *[0-9]+( *x *[0-9]+)? *$")
    """How the feature columns lie on a signal, `64`, or on a picture, `8x8` (row by row): what `cnn` needs to know."""
    monotone: Signs = Field(default={}, title="Monotone columns")
    """Columns with which the prediction may only rise or only fall, other things equal: `age=rising`. Families that
    can't be held to it are left out."""
    weight: Name | None = None
    """A column of row weights: they count in every fit and in every score."""
    query: str | None = None
    """SQL, where the data is a database address. `:name` in it is bound from `bound`, never pasted."""
    bound: Bound = Field(default={}, title="Values for the query")
    """Values for the query's `:name`s: `since=today-7d`. `today`, `today-7d` and `now-12h` become dates when the run
    begins."""
    test: Data | None = Field(default=None, title="Test table")
    """A table of its own that is the sealed test set."""
    split: Split = Split()
    final: Final = Final()
    tracking: Tracking = Tracking()
    seed: int = Field(default=0, ge=0, lt=2**31)
    """The same seed, table and number of trials give the same result to the last digit."""

    @model_validator(mode="before")
    @classmethod
    def _expand_budget(cls, values: Any) -> Any:
        """Lets `budget="5m"` stand for `budget={"seconds": "5m"}`, and `budget={"trials": 20}` for `search.trials`."""
        if not isinstance(values, dict):
            return values
        if isinstance(values.get("budget"), (str, int, float)):
            values = {**values, "budget": {"seconds": values["budget"]}}
        budget, search = values.get("budget"), values.get("search", {})
        if isinstance(budget, dict) and "trials" in budget and isinstance(search, dict) and "trials" not in search:
            rest = {k: v for k, v in budget.items() if k != "trials"}
            values = {**values, "budget": rest, "search": {**search, "trials": budget["trials"]}}
        return values

    @model_validator(mode="after")
    def _refuse_two_measures(self) -> Run:
        if self.budget.seconds is not None and self.search.trials is not None:
            raise ValueError("give a budget of time or a number of trials, not both")
        if self.split.new_seal and self.search.warm_from:
            raise ValueError(
                "a new seal is drawn among rows on which an earlier run chose its configurations, so the test would "
                "flatter these: leave out new_seal (--new-seal) or warm_from (--warm-from)"
            )
        if self.final.deliver == "bag" and self.final.rows == "all":
            raise ValueError("rows: all fits one configuration once more, so it goes with deliver: refit, not with bag")
        if self.final.deliver == "bag" and self.lean:
            raise ValueError("a bag has the latency and the size of all its models: they go with deliver: refit")
        return self

    @property
    def places(self) -> tuple[int, ...]:
        """`grid` as numbers: `(8, 8)`; empty where none is declared."""
        return tuple(int(n) for n in self.grid.split("x")) if self.grid else ()

    @property
    def lean(self) -> bool:
        """Whether latency or size is an objective or limited: then one model is delivered, not a bag."""
        return any(name.strip() in ("latency", "size") for name in (*self.search.objectives, *self.search.limits))

    @property
    def seconds(self) -> float | None:
        """The wall time there is; None when a number of trials is asked for instead."""
        if self.search.trials is not None:
            return None
        return self.budget.seconds or 600.0
