"""Four weeks in the life of a model, told by the product itself: a real table arrives in weekly slices, and Prefect's
server, a worker and MLflow, all on PostgreSQL, do what they do. `docs/story.md` is what this test wrote down."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import create_engine

from tests.prove.conftest import ROOT, SCALE, list_more_tables, make_stamp
from tests.runs import wait_for
from tests.stack import UpCommand, ask_server, read_log, run_nestor, run_postgres

pytestmark = [pytest.mark.prove, pytest.mark.timeout(0)]

WEEK = 4_000
"""Rows that arrive in a week."""
NEWEST = "select * from people where week = (select max(week) from people)"
PAGE = ROOT / "docs" / "story.md"
RUN = {
    "name": "income", "data": "env:PEOPLE", "query": "select * from people", "target": "class", "drop": ["week"],
    "search": {"families": ["linear", "lightgbm"]}, "budget": {"seconds": "50s"},
}  # fmt: skip
# What a gain must be worth: more rows alone bring a little every week.
GATE = {"rule": "better", "min_gain": 0.01}


def drifted(week: pd.DataFrame) -> pd.DataFrame:
    """The slice as a new source system writes it: hours per month, capital in cents, other words for education."""
    coded = {name: f"level {i:02}" for i, name in enumerate(sorted(week["education"].unique()))}
    return week.assign(
        **{
            "hours-per-week": (week["hours-per-week"] * 4.33).round(),
            "education-num": 20 - week["education-num"],
            "education": week["education"].map(coded),
            "capital-gain": week["capital-gain"] * 100,
        }
    )


class Story:
    """The page, and what it is told about."""

    def __init__(self, up: UpCommand, env: Mapping[str, str]):
        self.up, self.env, self.lines = up, env, []

    def say(self, text: str) -> None:
        """Adds a paragraph or a heading."""
        print(text, flush=True)
        self.lines.append(text)

    def shows(self, text: str) -> None:
        """Adds what a program printed."""
        self.say("```\n" + "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n```")

    def deployed(self, deployment: str, parameters: Mapping[str, Any]) -> str:
        """A run of a deployment that ended well; its id."""
        self.say(f"> `{deployment}` with `{json.dumps(parameters)}`")
        run = self.up.run(deployment, parameters)
        ended = self.up.ended(run, 400)
        assert ended["state_type"] == "COMPLETED", (ended["state"], read_log(self.up.api, run))
        return run

    def nestor(self, *words: str) -> str:
        """What a command printed."""
        done = run_nestor(self.up.folder, *words, env=self.env)
        assert done.returncode == 0, done.stderr
        self.shows(f"$ nestor {' '.join(words)}\n{done.stdout}")
        return done.stdout

    def artifact(self, run: str, key: str) -> str:
        """An artifact of a flow run, or of the flow runs below it, as Prefect's page holds it."""
        where = {"artifacts": {"flow_run_id": {"any_": [run]}, "key": {"any_": [key]}}}
        found = ask_server(f"{self.up.api}/artifacts/filter", where)
        assert found, f"{run} shows no {key}"
        data = found[0]["data"]
        return data if isinstance(data, str) else json.dumps(data)

    def quote(self, run: str, key: str) -> str:
        """Adds an artifact; its text."""
        text = self.artifact(run, key)
        self.say(f"Prefect's page shows (`{key}`):\n\n" + "\n".join(f"> {line}" for line in text.strip().splitlines()))
        return text

    def champion(self) -> int:
        """The version that consumers get."""
        found = ask_server(f"{self.up.mlflow}/api/2.0/mlflow/registered-models/alias?name=income&alias=champion")
        return int(found["model_version"]["version"])

    def write(self, page: Path) -> None:
        """Writes the page."""
        page.write_text("\n\n".join(self.lines) + "\n", "utf-8")


def arrive(address: str, week: int, rows: pd.DataFrame) -> None:
    """The week's rows in the business database."""
    engine = create_engine(address.replace("postgresql://", "postgresql+psycopg://"))
    rows.assign(week=week).to_sql("people", engine, if_exists="append", index=False)
    engine.dispose()


def triggered(up: UpCommand, since: float) -> str:
    """The retraining that an event has set off."""

    def now() -> str | None:
        where = {"flows": {"name": {"any_": ["retrain"]}}, "sort": "EXPECTED_START_TIME_DESC", "limit": 5}
        runs = [
            r for r in ask_server(f"{up.api}/flow_runs/filter", where) if pd.Timestamp(r["created"]).timestamp() > since
        ]
        return runs[0]["id"] if runs else None

    found = wait_for(now, 90)
    assert found, "the drift event set no retraining off"
    return found


def test_story(tmp_path):
    found = list_more_tables("adult")
    if not found:
        pytest.skip("NESTOR_TABLES tells of no table adult")
    weeks = pd.read_csv(found[0][0]).sample(frac=1, random_state=0)
    slices = [weeks.iloc[i * WEEK : (i + 1) * WEEK] for i in range(4)]
    slices = slices[:2] + [drifted(one) for one in slices[2:]]
    with run_postgres() as server:
        people = f"postgresql://{server.database('business')}"
        env = {
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{server.database('prefect')}",
            "MLFLOW_BACKEND_STORE_URI": f"postgresql://{server.database('mlflow')}",
            "PEOPLE": people,
        }
        with UpCommand(tmp_path / "company", env=env) as up:
            story = Story(up, env)
            _told(story, people, slices)
    if SCALE == 1:
        story.write(PAGE)


def _told(story: Story, people: str, slices: list[pd.DataFrame]) -> None:
    story.say("# Four weeks in the life of a model")
    story.say(
        f"A run of `tests/prove/test_story.py`, word for word: {make_stamp()}. The table is *adult* (who earns more "
        "than "
        f"50,000?); {WEEK:,} rows of it arrive in a PostgreSQL database every week. `nestor up` runs Prefect's server, "
        "a worker and MLflow's server, both on PostgreSQL. Every run is one of a deployment, made by the worker."
    )
    begun = time.time()
    _first_week(story, people, slices[0])
    _second_week(story, people, slices[1])
    _third_week(story, people, slices[2])
    _fourth_week(story, people, slices[3])
    story.say("## What is left in the registry")
    story.nestor("runs", "income")
    story.say(f"Four weeks took {(time.time() - begun) / 60:.1f} minutes.")
    left = ask_server(f"{story.up.api}/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}})
    assert left == []


def _first_week(story: Story, people: str, rows: pd.DataFrame) -> None:
    story.say("## Week 1: the first model")
    arrive(people, 1, rows)
    run = story.deployed("train/train", {"run": RUN})
    story.quote(run, "nestor-verdict-income")
    assert story.champion() == 1


def _second_week(story: Story, people: str, rows: pd.DataFrame) -> None:
    story.say("## Week 2: more of the same")
    arrive(people, 2, rows)
    watched = story.deployed("watch/watch", {"watch": {"name": "income", "data": "env:PEOPLE", "query": NEWEST}})
    story.quote(watched, "nestor-drift-income")
    assert "no drift" in story.artifact(watched, "nestor-drift-income").lower()
    run = story.deployed("retrain/retrain", {"retrain": {"name": "income", "gate": GATE}})
    story.quote(run, "nestor-retrain-income")
    assert story.champion() == 1, "no gain that is worth it: kept"
    again = story.deployed("retrain/retrain", {"retrain": {"name": "income", "gate": GATE}})
    story.quote(again, "nestor-retrain-income")
    assert "unchanged" in story.artifact(again, "nestor-retrain-income").lower()


def _third_week(story: Story, people: str, rows: pd.DataFrame) -> None:
    story.say("## Week 3: the source changes")
    story.say("A new source system writes hours per month, money in cents, and other words for education.")
    arrive(people, 3, rows)
    since = time.time()
    watched = story.deployed("watch/watch", {"watch": {"name": "income", "data": "env:PEOPLE", "query": NEWEST}})
    story.quote(watched, "nestor-drift-income")
    run = triggered(story.up, since)
    ended = story.up.ended(run, 400)
    assert ended["state_type"] == "FAILED", (ended["state"], read_log(story.up.api, run))
    assert "were never seen in training" in ended["state"]["message"]
    story.say(
        "Nobody asked for it: the event `nestor.drift` set a retraining off. It stopped, and Prefect's page says why:"
    )
    story.say("> " + ended["state"]["message"].replace("\n", "\n> "))
    story.say(
        "Somebody looks at the source: it is to stay so. The same retraining is told to train with what there is."
    )
    asked = {**ended["parameters"]["retrain"], "columns": "adapt"}
    run = story.deployed("retrain/retrain", {"retrain": {k: v for k, v in asked.items() if v not in (None, "", [])}})
    story.quote(run, "nestor-retrain-income")
    assert story.champion() == 3


def _fourth_week(story: Story, people: str, rows: pd.DataFrame) -> None:
    story.say("## Week 4: a bad model is forced in, and rolled back")
    arrive(people, 4, rows)
    story.say("Somebody trains a model of three columns and is sure of it.")
    few = ["age", "race", "sex", "class"]
    run = {**RUN, "drop": [c for c in rows.columns if c not in few] + ["week"], "budget": {"seconds": "30s"}}
    story.quote(story.deployed("train/train", {"run": run}), "nestor-verdict-income")
    assert story.champion() == 3, "what is trained by hand only challenges"
    story.nestor("promote", "income/4", "--why", "I am sure of it")
    assert story.champion() == 4
    story.say("The labels of the week come in.")
    watched = story.deployed(
        "watch/watch", {"watch": {"name": "income", "data": "env:PEOPLE", "query": NEWEST, "alarm": False}}
    )
    story.quote(watched, "nestor-drift-income")
    story.nestor("rollback", "income", "--why", "three columns are too few")
    assert story.champion() == 3
