"""The docs are a product: what is registered is documented, generated parts are fresh, links lead somewhere, examples
run."""

import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import skops.io
import typer
from optuna.distributions import BaseDistribution

import models.families
import models.search
from flows.cli import app
from models.checks import load_checks
from models.columns import TRUSTED
from models.config import Retrain, Run, Score, Settings, Watch
from models.config.places import find_named_settings, is_settings
from models.families import load_families
from models.fitting.family import Shape, TrainingData
from models.metrics.metric import make_metric
from models.search import load_strategies
from models.studies.study import Study
from models.tuning.portfolio import knows_family
from models.tuning.strategy import View
from tasks.data.notes import SENTENCES

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = typer.main.get_command(app).commands


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


def code(text: str) -> set[str]:
    """What stands between backticks."""
    return set(re.findall(r"`([^`\n]+)`", text))


def test_generated_parts_are_fresh():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.pages", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, f"run `make docs`\n{done.stdout}{done.stderr}"


# --- What is registered is documented --------------------------------------------------------------------------------


def test_families_are_documented():
    assert set(load_families()) <= code(page("families.md"))


def test_strategies_are_documented():
    assert set(load_strategies()) <= code(page("searches.md"))


def test_families_that_the_portfolio_knows_are_named():
    *known, last = sorted(name for name in load_families() if knows_family(name))
    names = f"The file knows {', '.join(f'`{name}`' for name in known)} and `{last}`;"
    assert names in " ".join(page("searches.md").split())


def settings(model: type[Settings], place: str = "") -> list[str]:
    found = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        each = find_named_settings(inner)
        found += settings(inner, f"{place}{name}.") if is_settings(inner) else [place + name]
        found += settings(each, f"{place}{name}.NAME.") if each else []
    return found


def test_settings_are_documented_and_described():
    for flow in (Run, Retrain, Score, Watch):
        assert set(settings(flow)) <= code(page("config.md"))
        kinds = [f.annotation for f in flow.model_fields.values()]
        for model in (flow, *(each for kind in kinds if is_settings(each := find_named_settings(kind) or kind))):
            undescribed = [n for n, f in model.model_fields.items() if not f.description]
            assert not [n for n in undescribed if n not in ("split", "search", "budget", "final", "tracking", "gate")]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_commands_and_options_are_documented(name):
    command, text = COMMANDS[name], page("command-line.md")
    section = text.partition(f"## nestor {name}\n")[2].partition("\n## ")[0]
    assert command.help
    assert command.help in section
    said = {word for span in code(section) for word in span.split()}
    assert {option for p in command.params if p.param_type_name == "option" for option in p.opts} <= said


def test_exit_codes_are_documented():
    from models import errors

    known = {e.exit_code for e in vars(errors).values() if inspect.isclass(e) and issubclass(e, errors.NestorError)}
    assert {0, *known} == {int(n) for n in re.findall(r"^\| (\d+) \|", page("command-line.md"), re.M)}


def test_checks_are_documented():
    in_code = set(load_checks("form")) | set(load_checks("signal")) | set(SENTENCES)
    for path in (*(ROOT / "tasks").rglob("*.py"), *(ROOT / "models").rglob("*.py")):
        in_code |= set(re.findall(r'(?:Finding|Note|_note|noted)\(\s*"(\w+)"', path.read_text("utf-8")))
    assert in_code <= code(page("checks.md"))


def test_dependencies_are_documented():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wanted = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    assert {re.match(r"[\w-]+", line)[0] for line in wanted} <= code(page("dependencies.md"))


def test_modules_named_in_the_walk_exist():
    paths = [c for p in PAGES for c in code(p.read_text("utf-8")) if re.fullmatch(r"(flows|tasks|models)/[\w/.]*", c)]
    examples = {path for path, _ in examples_in_docs()}
    assert [c for c in paths if not (ROOT / c).exists() and c not in examples] == []


def test_the_tree_names_every_room():
    text = page("architecture.md")
    lacking = [
        path.name
        for package in ("flows", "tasks", "models")
        for path in (ROOT / package).glob("[a-z]*")
        if f"{path.name}/" not in text and path.name not in text
    ]
    assert lacking == []


def test_every_room_says_what_it_is_for():
    rooms = [path for package in ("flows", "tasks", "models") for path in (ROOT / package).rglob("__init__.py")]
    assert [path for path in rooms if not path.read_text("utf-8").startswith('"""')] == []


def test_nothing_that_is_there_is_said_to_be_missing():
    missing = page("scope.md").partition("## Not in this version")[2]
    firsts = re.findall(r"^\| ([^|]+) \|", missing, re.M)
    assert len(firsts) > 2
    said = {word for text in firsts for word in re.findall(r"[a-z_]+", text.lower())}
    assert not said & {*load_strategies(), *load_families()}


# --- Links and commands ----------------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """Headings as GitHub names them."""
    heads = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(path):
    plain = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.S)
    links = re.findall(r"\]\(([^)\s]+)\)", plain) + re.findall(r'src(?:set)?="([^"]+)"', plain)
    for link in links:
        if not link.startswith(("http://", "https://")):
            file, _, anchor = link.partition("#")
            target = (path.parent / file) if file else path
            assert target.exists(), link
            assert not anchor or anchor in anchors(target.read_text("utf-8")), link


def test_every_page_is_linked_from_the_readme():
    text = (ROOT / "README.md").read_text("utf-8")
    assert [p.name for p in (ROOT / "docs").glob("*.md") if f"docs/{p.name}" not in text] == []


def test_make_knows_the_commands_that_the_docs_name():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    named = {m for p in PAGES for m in re.findall(r"\bmake ([a-z]+)\b(?=`|\n| +#)", p.read_text("utf-8"))}
    assert named <= targets
    assert {"demo", "test", "check", "prove", "bench"} <= named


def test_nestor_commands_in_the_docs_exist():
    for path in PAGES:
        for block in re.findall(r"```(?:sh|)\n(.*?)```", path.read_text("utf-8"), re.S):
            for name, rest in re.findall(r"^(?:\$ )?(?:\S*/)?nestor ([a-z]+)\b(.*)$", block, re.M):
                assert name in COMMANDS, f"{path.name}: nestor {name}"
                known = {option for p in COMMANDS[name].params for option in p.opts}
                assert set(re.findall(r"(?<=\s)--[a-z-]+", rest)) <= known, f"{path.name}: nestor {name}{rest}"


def imports_in_docs() -> list[tuple[str, str, str]]:
    """Page, module and name of every import of ours that a page shows; what has changed may name what was."""
    blocks = [
        (p.name, block)
        for p in PAGES
        if p.name != "CHANGELOG.md"
        for block in re.findall(r"```python\n(.*?)```", p.read_text("utf-8"), re.S)
    ]
    found = re.compile(r"^from ((?:flows|tasks|models)[\w.]*) import ([\w, ]+)", re.M)
    return [(page, m, n.strip()) for page, block in blocks for m, ns in found.findall(block) for n in ns.split(",")]


@pytest.mark.parametrize(("page", "module", "name"), imports_in_docs())
def test_imports_in_the_docs_work(page, module, name):
    assert hasattr(importlib.import_module(module), name) or importlib.import_module(f"{module}.{name}")


# --- Examples run ----------------------------------------------------------------------------------------------------


def examples_in_docs() -> list[tuple[str, str]]:
    """Path and text of every block that a page says is a file."""
    found = re.compile(r"<!-- run: (\S+) -->\n```python\n(.*?)```", re.S)
    return [block for p in PAGES for block in found.findall(p.read_text("utf-8"))]


@pytest.fixture
def example(tmp_path, monkeypatch):
    """Puts the example of that name where its registry looks, for one test."""

    def put(path: str, package, registry) -> None:
        text = dict(examples_in_docs())[path]
        (tmp_path / Path(path).name).write_text(text, "utf-8")
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
        registry.cache_clear()

    yield put
    monkeypatch.undo()
    for name, registry in ((models.families.__name__, load_families), (models.search.__name__, load_strategies)):
        registry.cache_clear()
        for path, _ in examples_in_docs():
            sys.modules.pop(f"{name}.{Path(path).stem}", None)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_family_in_the_docs_works(example, task):
    example("models/families/random_features.py", models.families, load_families)
    family = load_families()["random_features"]
    draw = np.random.default_rng(0)
    X = draw.normal(size=(120, 4))
    y = {"binary": (X[:, 0] > 0).astype(int), "multiclass": draw.integers(0, 3, 120), "regression": X[:, 0]}[task]
    shape = Shape(120, 4, task, {"binary": 2, "multiclass": 3, "regression": 0}[task])
    first = asked(family, shape).ask()[0]
    assert dict(first.params) == dict(family.default)
    fits = [family.fit(first.config, TrainingData(X, y, np.ones(120), shape), 1, 1).model for _ in range(2)]
    predictions = [f.predict(X) if task == "regression" else f.predict_proba(X) for f in fits]
    assert np.array_equal(*predictions)
    loads = skops.io.get_untrusted_types(data=skops.io.dumps(fits[0]))
    assert set(loads) <= {*TRUSTED, *family.trusted}


def asked(family, shape, strategy="tpe", seed=0) -> Study:
    scorer = make_metric(None, shape.task, tuple(range(shape.classes)))
    return Study(View(family, shape, scorer, (), seed, seed), "1", strategy)


def test_the_strategy_in_the_docs_works(example):
    from dataclasses import replace

    example("models/search/nearby.py", models.search, load_strategies)
    family = load_families()["lightgbm"]
    told = []
    for _ in range(2):
        study = asked(family, Shape(500, 8, "binary", 2), "nearby", seed=3)
        for _ in range(4):
            batch = study.ask()
            for trial in batch:
                ranges: dict[str, BaseDistribution] = dict(trial.distributions)
                assert all(r._contains(r.to_internal_repr(trial.params[n])) for n, r in ranges.items())
            study.tell([replace(t, scores=(t.params["learning_rate"],)) for t in batch])
        told.append([dict(t.params) for t in study.told])
    assert told[0] == told[1]
    assert len(told[0]) == 13
