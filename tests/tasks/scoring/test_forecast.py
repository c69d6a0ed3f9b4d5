"""A version that forecasts: scored from history and new rows, here, in a process without this project, and watched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from models.columns import prepare
from models.config import Run, Score
from models.data.table import Table
from models.errors import InputError
from models.families import load_families
from models.splitting.division import divide_table
from tasks.data import read_table
from tasks.monitoring import drift
from tasks.planning.checks import check_form, make_metric_and_goal
from tasks.registry.load import load_version
from tasks.scoring.score import score
from tests.versions import Registry

SPLIT = {"time": "day", "series": "shop", "horizon": "2d", "known": ("price",)}
WITHOUT = "import sys\nfor name in ('flows', 'tasks', 'models'): sys.modules[name] = None\n"


def sales(days: int = 150, seed: int = 0) -> pd.DataFrame:
    """Two shops with a week's pattern, a price that is known ahead and rain that is not."""
    rng = np.random.default_rng(seed)
    day = np.tile(pd.date_range("2024-01-01", periods=days, freq="D").to_numpy(), 2)
    shop = np.repeat([7, 12], days)
    price = rng.uniform(1, 2, 2 * days)
    week = 10 * np.sin(2 * np.pi * np.tile(np.arange(days), 2) / 7)
    sold = 50 + 5 * (shop == 12) + week - 8 * price + rng.normal(0, 0.5, 2 * days)
    rain = rng.choice(["none", "some"], 2 * days)
    return pd.DataFrame({"day": day, "shop": shop, "price": price, "rain": rain, "sold": sold})


def linear(work: Table) -> Any:
    """What the linear family makes of the table."""
    needs = load_families()["linear"].needs
    made = prepare(work.features, work.kinds, work.target, work.task, needs, 0)
    return make_pipeline(made.transformer, Ridge(alpha=0.1))


@pytest.fixture(scope="module")
def registry(tmp_path_factory) -> Registry:
    found = Registry(tmp_path_factory.mktemp("store"))
    found.train("sales", sales(), linear, target="sold", split=SPLIT)
    return found


@pytest.mark.parametrize(("gap", "warned"), [(None, False), (0, True), (20, False)])
def test_a_horizon_without_its_gap_is_warned_of(gap, warned):
    run = Run.model_validate({"data": sales(), "target": "sold", "split": {**SPLIT, "gap": gap}})
    found = check_form(read_table(run), run)
    codes = {
        f.check
        for f in divide_table(found, run, make_metric_and_goal(found, run)[0], None).findings
        if f.verdict == "warn"
    }
    assert ("gap" in codes) == warned


def coming(days: int = 2) -> pd.DataFrame:
    """The last forty known days and as many new ones, in no order; the new ones stand first for one shop."""
    rows = sales(150 + days)
    known, new = rows[rows["day"] < "2024-05-30"], rows[rows["day"] >= "2024-05-30"].assign(sold=np.nan, rain=None)
    known = known[known["day"] > "2024-04-20"]
    return pd.concat([new[new["shop"] == 12], known.sample(frac=1, random_state=0), new[new["shop"] == 7]])


def scored(registry: Registry, rows: pd.DataFrame, folder: Path, **more: Any) -> tuple[pd.DataFrame, Any]:
    done = score(Score(model="sales", data=rows, out=str(folder / "out.csv"), **more), registry.address)
    return pd.read_csv(folder / "out.csv"), done


def test_new_rows_are_predicted_from_the_history_beside_them(registry, tmp_path):
    found, done = scored(registry, coming(), tmp_path, chunk=3, keep=("price",))
    assert list(found) == ["day", "shop", "price", "prediction", "model_version"]
    assert found["shop"].tolist() == [12, 12, 7, 7]
    assert done.rows == 4
    true = sales(152).set_index(["shop", "day"])["sold"]
    said = found.set_index(["shop", pd.to_datetime(found["day"])])["prediction"]
    assert np.abs(said - true.reindex(said.index)).max() < 3  # the week alone swings by 20


@pytest.mark.parametrize("form", ["{}.0", "0{}", "'{}"])
def test_series_that_are_written_otherwise_are_the_same_series(registry, tmp_path, form):
    expected, _ = scored(registry, coming(), tmp_path)
    rows = coming()
    rows.assign(shop=[form.format(shop) for shop in rows["shop"]]).to_csv(tmp_path / "rows.csv", index=False)
    done = score(Score(model="sales", data=str(tmp_path / "rows.csv"), out=str(tmp_path / "out.csv")), registry.address)
    np.testing.assert_allclose(pd.read_csv(tmp_path / "out.csv")["prediction"], expected["prediction"], rtol=1e-9)
    assert len(done.notes) == 1


def test_series_of_which_none_was_ever_seen_stop(registry, tmp_path):
    with pytest.raises(InputError, match="'shop' were never seen in training, such as 'S12'; it knew '12', '7'"):
        scored(registry, coming().assign(shop=lambda rows: "S" + rows["shop"].astype(str)), tmp_path)


def test_a_csv_is_read_as_the_training_table_was(registry, tmp_path):
    coming().to_csv(tmp_path / "rows.csv", index=False)
    score(Score(model="sales", data=str(tmp_path / "rows.csv"), out=str(tmp_path / "a.csv")), registry.address)
    np.testing.assert_allclose(
        pd.read_csv(tmp_path / "a.csv")["prediction"], scored(registry, coming(), tmp_path)[0]["prediction"]
    )


def test_a_short_history_is_told_of(registry, tmp_path):
    rows = coming()
    _, done = scored(registry, rows[rows["sold"].isna() | (rows["day"] > "2024-05-20")], tmp_path)
    assert "shorter than the model can use" in done.notes[0]
    assert "known 'sold' from 2024-04-" in done.notes[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows.drop(columns="sold"), "has no column 'sold'. sales/1 forecasts 2 d ahead"),
        (lambda rows: rows[rows["sold"].notna()], "Every row has a value in 'sold'"),
        (lambda rows: rows[rows["sold"].isna()], "No row to predict has a history 2 d before it. Wanted are rows"),
        (lambda rows: rows[rows["sold"].isna() | (rows["day"] < "2024-05-20")], "later than the model looks ahead"),
        (lambda rows: pd.concat([rows, rows[rows["sold"].notna()].head(1)]), "1 rows of the history have the time"),
    ],
)
def test_what_can_not_be_forecast_is_said(registry, tmp_path, change, said):
    with pytest.raises(InputError, match=said):
        scored(registry, change(coming()), tmp_path)


def test_pyfunc_takes_history_and_new_rows_without_this_project(registry, tmp_path):
    """And what Python leaves in the store by loading it there does not make the version another one."""
    rows = coming().reset_index(drop=True)
    rows.to_parquet(tmp_path / "rows.parquet")
    code = WITHOUT + (
        "import mlflow, pandas as pd\n"
        "model = mlflow.pyfunc.load_model('models:/sales@champion')\n"
        f"rows = pd.read_parquet({str(tmp_path / 'rows.parquet')!r})\n"
        "said = model.predict(rows)\n"
        "print('said', list(said.index), [round(v, 6) for v in said], type(model.get_raw_model()).__name__)\n"
    )
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"MLFLOW_TRACKING_URI": registry.address}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=kept)
    assert done.returncode == 0, done.stderr[-3000:]
    own = scored(registry, coming(), tmp_path)[0]["prediction"].round(6).tolist()
    new = [int(i) for i in np.flatnonzero(rows["sold"].isna())]
    assert f"said {new} {own} Pipeline" in done.stdout
    assert load_version("sales", registry.address).version == 1


def test_later_rows_are_watched_with_their_history(registry):
    later = sales(230)
    found = drift.compare_with_profile(
        load_version("sales", registry.address), later[later["day"] > "2024-05-29"].reset_index(drop=True)
    )
    assert {c.name for c in found.columns} == {"day", "shop", "price", "rain", "prediction"}
    assert found.performance is not None
    assert any("rows have no history here" in note for note in found.notes)
    blind = drift.compare_with_profile(load_version("sales", registry.address), later.drop(columns="sold"))
    assert {c.name for c in blind.columns} == {"day", "shop", "price", "rain"}
