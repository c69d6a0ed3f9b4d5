"""The command line: what it imports, teaches, refuses, and how it ends."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from flows.cli import app
from flows.commands import check, retrain, score, train, watch
from flows.options.command_input import CommandInput, gather_run_values, make_run
from flows.options.option import take_options
from flows.screen import ending, hints
from models.config import Gate, Retrain, Run, Score, Watch
from models.config.places import is_settings
from models.errors import BudgetError, InputError, InterruptedRunError, NestorError

COMMANDS = [command.callback.__name__ for command in app.registered_commands]
HEAVY = ("pandas", "numpy", "prefect", "mlflow", "sklearn", "optuna", "matplotlib", "psutil")
CALM = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "NESTOR_"))}


def nestor(*arguments, cwd, **more):
    command = [sys.executable, "-m", "flows.cli", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=CALM | more)


@pytest.fixture
def table(tmp_path):
    rows = "\n".join(f"{k},{k % 7},{'yes' if k % 3 else 'no'}" for k in range(60))
    (tmp_path / "t.csv").write_text(f"a,b,Über 50k?\n{rows}\n")
    return tmp_path


def test_importing_it_imports_nothing_heavy():
    code = f"import sys, flows.cli; print([m for m in {HEAVY} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_help_and_version_import_nothing_heavy():
    code = f"""
import sys, flows.cli
for words in (["--help"], ["train", "--help"], ["--version"]):
    try:
        flows.cli.app(words)
    except SystemExit as end:
        assert end.code == 0
print([m for m in {HEAVY} if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.endswith("[]\n"), done.stdout + done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_purpose_and_examples(command):
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    assert "Examples" in shown
    assert f"nestor {command}" in shown.split("Examples")[1]


def fields(model, above=""):
    """Every field of the settings and of the groups in them: `split.group`."""
    for name, field in model.model_fields.items():
        if is_settings(field.annotation):
            yield from fields(field.annotation, f"{above}{name}.")
        else:
            yield above + name


ONLY_IN_A_FILE = {
    Run: {"split.gap", "split.copies"},
    Retrain: {"changes", "needs_new", *(f"gate.{name}" for name in fields(Gate) if name not in ("rule", "approval"))},
    Score: set(),  # these two commands read no file
    Watch: set(),
}


@pytest.mark.parametrize(
    ("command", "settings"), [(train, Run), (check, Run), (retrain, Retrain), (score, Score), (watch, Watch)]
)
def test_every_option_fills_a_field_and_the_help_has_it(command, settings):
    assert {option.field for option in command.OPTIONS} - {""} <= set(fields(settings))
    params = typer.main.get_command(app).commands[command.__name__.rpartition(".")[2]].params
    assert {option.names for option in command.OPTIONS} <= {
        name for p in params for name in (" ".join(p.opts), p.metavar)
    }


@pytest.mark.parametrize(("command", "settings"), [(train, Run), (retrain, Retrain), (score, Score), (watch, Watch)])
def test_every_field_has_its_option_or_is_set_in_a_file(command, settings):
    assert set(fields(settings)) - {option.field for option in command.OPTIONS} == ONLY_IN_A_FILE[settings]


def asked(*words, file=None):
    """What `nestor train` asks for with these words."""
    found = []

    @take_options(train.OPTIONS)
    def catch(asked: CommandInput) -> None:
        found.append(asked)

    words = [*words, "--config", str(file)] if file else words
    taken = typer.Typer()
    taken.command()(catch)
    typer.main.get_command(taken)(list(words), standalone_mode=False)
    return found[0]


def run_of(*words, file=None):
    known = asked(*words, file=file)
    return make_run(gather_run_values(known), known)


def test_options_make_a_run():
    more = ("--drop", "x,y", "--drop", "z", "--budget", "1h30m", "--outer", "3")
    run = run_of("t.csv", "-t", "y", "--type", "a=b=category", *more)
    assert (run.data, run.types, run.drop, run.seconds) == ("t.csv", {"a=b": "category"}, ("x", "y", "z"), 5400)
    assert (run.split.outer, run.seed) == (3, 0)


def test_options_overrule_the_file(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("data: t.csv\ntarget: y\nbudget: 5m\nsplit: {outer: 4, inner: 2}\ntypes: {a: id, b: text}\n")
    run = run_of("--outer", "3", "--trials", "7", "--type", "a=date", file=file)
    assert (run.split.outer, run.split.inner, run.search.trials, run.seconds) == (3, 2, 7, None)
    assert run.types == {"a": "date", "b": "text"}


@pytest.mark.parametrize("form", ["{size: [S, M], rank: [1, 2, 10]}", "['size=S,M', 'rank=1,2,10']"])
def test_orders_of_levels_overrule_those_of_the_file(tmp_path, form):
    file = tmp_path / "run.yaml"
    file.write_text(f"data: t.csv\norder: {form}\n")
    run = run_of("--order", "size=S, M,L", "--order", "a b=x,y=z", file=file)
    assert run.order == {"size": ("S", "M", "L"), "rank": ("1", "2", "10"), "a b": ("x", "y=z")}
    assert run_of(file=file).order == {"size": ("S", "M"), "rank": ("1", "2", "10")}


@pytest.mark.parametrize("text", ["", "# There is nothing to narrow: the best trials lie all over the ranges.\n"])
def test_a_file_that_says_nothing_changes_nothing(tmp_path, text):
    file = tmp_path / "n.yaml"
    file.write_text(text)
    assert run_of("t.csv", "--trials", "3", file=file) == run_of("t.csv", "--trials", "3")


def test_names_with_dots_in_a_file_are_groups_and_options_overrule_them(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(
        "data: t.csv\nfamilies.lightgbm.space.learning_rate: [0.01, 0.1, log]\nsplit: {outer: 3}\nsplit.inner: 2\n"
        "families: {lightgbm: {steps: 4}}\nsearch.trials: 9\nbudget.workers: 1\ntypes.a.b: number\n"
    )
    run = run_of(file=file)
    assert run.families["lightgbm"].space == {"learning_rate": (0.01, 0.1, "log")}
    assert run.families["lightgbm"].steps == {"": 4}
    assert (run.split.outer, run.split.inner, run.search.trials, run.budget.workers) == (3, 2, 9, 1)
    assert run.types == {"a.b": "number"}  # what is no group of settings is the name of a column
    assert run_of("--budget", "2m", file=file).seconds == 120


def test_lines_of_families_that_say_nothing_are_told_whatever_the_options(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("data: t.csv\nfamilies: [linear]\n")
    with pytest.raises(InputError, match=r"run.yaml: NAME=VALUE is wanted, not 'linear'"):
        run_of("--steps", "linear=5", file=file)


@pytest.mark.parametrize(
    "form",
    [
        "{linear: {space: {penalty: l2, strength: 3}, steps: {strength: 4}, configurations: [{strength: 9}]}}",
        "{linear.space: {penalty: l2, strength: 3}, linear.steps.strength: 4, linear.configurations: [{strength: 9}]}",
        "['linear.space.penalty=l2', 'linear.space.strength=3', 'linear.steps.strength=4',"
        " 'linear.configurations=strength:9']",
    ],
)
def test_what_families_are_told_overrules_the_file_one_by_one(tmp_path, form):
    file = tmp_path / "run.yaml"
    file.write_text(f"data: t.csv\nfamilies: {form}\n")
    spaces = ["--space", "linear.strength=0.1, 10,log", "--space", "tree.criterion=gini"]
    run = run_of(*spaces, "--steps", "linear=5", "--steps", "tree.x=2", file=file)
    assert run.families["linear"].space == {"penalty": "l2", "strength": (0.1, 10, "log")}
    assert run.families["linear"].steps == {"strength": 4, "": 5}
    assert run.families["linear"].configurations == ({"strength": 9},)
    assert (run.families["tree"].space, run.families["tree"].steps) == ({"criterion": "gini"}, {"x": 2})


def test_configurations_keep_their_order_and_types():
    texts = ("linear.strength=2, penalty=l2", "linear.strength=1e-3", "tree.deep=true")
    run = run_of("t.csv", *(word for text in texts for word in ("--configuration", text)))
    assert run.families["linear"].configurations == ({"strength": 2, "penalty": "l2"}, {"strength": 0.001})
    assert run.families["tree"].configurations == ({"deep": True},)


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--space", "linear=3"),
        ("--space", "linear.x="),
        ("--steps", "linear.x=0"),
        ("--steps", "linear.x=many"),
        ("--steps", "=3"),
        ("--configuration", "linear=3"),
    ],
)
def test_what_says_nothing_of_a_family_is_told(option, text):
    with pytest.raises(InputError, match=f"{option} wants such as {option} lightgbm.*not '{text}'"):
        asked("t.csv", option, text)


@pytest.mark.parametrize("form", ["{since: 2026-01-01, low: 3}", "[since=2026-01-01, low=3]"])
def test_values_for_the_query_overrule_those_of_the_file(tmp_path, form):
    file = tmp_path / "run.yaml"
    file.write_text(f"data: env:DB\nquery: select 1\nbound: {form}\n")
    run = run_of("--bind", "since=today-7d", "--bind", ":kind=a=b", file=file)
    assert run.bound == {"since": "today-7d", "low": "3", "kind": "a=b"}
    assert (run.query, run_of(file=file).bound) == ("select 1", {"since": "2026-01-01", "low": "3"})


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--outer 1", "--outer: should be greater than or equal to 2, not '1'."),
        ("--task bin", "--task: should be 'binary', 'multiclass' or 'regression', not 'bin'."),
        ("--trials many", "--trials: should be a valid integer"),
        ("--budget soon", "--budget: a duration such as 90s, 10m or 1h30m is wanted, not 'soon'."),
        ("--type zip=postcode", "--type: should be 'number', 'category'"),
        ("--name a/b", "--name: a name must not have / : @ ? %"),
    ],
)
def test_a_wrong_value_is_told_with_its_option(words, says):
    with pytest.raises(InputError) as error:
        run_of("t.csv", *words.split())
    assert str(error.value).startswith(says)


def test_many_wrong_values_are_bounded():
    with pytest.raises(InputError) as error:
        run_of("t.csv", *(word for k in range(20) for word in ("--type", f"c{k}={'x' * 500}")))
    assert "(and 17 more)" in str(error.value)
    assert len(str(error.value)) < 800


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("splitt: 1", "config: splitt: no such field. Did you mean split?"),
        ("split: {outter: 1}", "config: split.outter: no such field. Did you mean outer"),
        ("seed: a", "config: seed: should be a valid integer"),
        ("- 1", "--config: "),
        ("a: [", "--config: "),
        ("split: 3", "config: split: "),
        ("split: 3\nsplit.outer: 3", "--config: "),
        ("families: {lightgbm: {spce: 1}}", "config: families.lightgbm.spce: no such field. Did you mean space?"),
        ("families.lightgbm.spce.x: 1", "config: families.lightgbm.spce: no such field. Did you mean space?"),
    ],
)
def test_a_wrong_config_file_is_told_with_its_field(tmp_path, text, says):
    (tmp_path / "c.yaml").write_text(f"data: t.csv\n{text}\n" if text[0] not in "-" else text)
    with pytest.raises(InputError) as error:
        run_of(file=tmp_path / "c.yaml")
    assert str(error.value).startswith(says)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train"], "Which table?"),
        (["train", "t.csv", "--budget", "5m", "--trials", "3"], "not both"),
        (["train", "t.csv", "--type", "a"], "COL=KIND"),
        (["train", "t.csv", "--order", "size=S"], "COL=A,B,C"),
        (["train", "env:DB", "--bind", "since"], "NAME=VALUE"),
        (["train", "t.csv", "--config", "none.yaml"], "No file none.yaml"),
        (["train", "t.csv", "--bugdet", "5m"], "--bugdet"),
        (["nonsense"], "nonsense"),
    ],
)
def test_a_mistake_ends_with_2_at_once_and_without_a_traceback(tmp_path, words, says):
    done = nestor(*words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "mlruns").exists()  # no server was started for it


def test_check_prints_its_findings_and_stops_with_2(table):
    done = nestor("check", "t.csv", "--target", "Über 50k?", "--json", cwd=table)
    found = json.loads(done.stdout)
    assert (done.returncode, found["ok"]) == (0, True)
    assert {"check", "verdict", "message", "columns", "rows"} <= set(found["findings"][0])
    done = nestor("check", "t.csv", "--target", "absent", cwd=table)
    assert done.returncode == 2
    assert "✗ stop" in done.stdout
    assert "1 stop" in done.stdout


def test_check_asks_a_database(table):
    with closing(sqlite3.connect(table / "shop.db")) as connection:
        connection.execute("create table t (day text, a int, b int, y text)")
        rows = [(f"2026-01-{1 + k % 28:02}", k, k % 7, "yes" if k % 3 else "no") for k in range(60)]
        connection.executemany("insert into t values (?, ?, ?, ?)", rows)
        connection.commit()
    words = ["--query", "select * from t where day >= :since", "--target", "y", "--json"]
    done = nestor("check", "env:SHOP", *words, "--bind", "since=2026-01-08", cwd=table, SHOP="sqlite:///shop.db")
    assert (done.returncode, json.loads(done.stdout)["ok"]) == (0, True), done.stderr
    done = nestor("check", "postgresql://me:hunter2@127.0.0.1:1/db", *words, cwd=table)
    assert done.returncode == 2
    assert "Can't connect to postgresql://***@127.0.0.1:1/db" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr


def test_lists_are_tables_or_json(tmp_path):
    for command in ("families", "searches"):
        rows = json.loads(nestor(command, "--json", cwd=tmp_path).stdout)
        assert all(row["name"] and row["suits"] for row in rows)
        assert rows[0]["name"] in nestor(command, cwd=tmp_path).stdout


def test_one_family_is_shown_with_its_space(tmp_path):
    one = json.loads(nestor("families", "lightgbm", "--json", cwd=tmp_path).stdout)
    assert {"name", "range", "default"} == set(one["space"][0])
    shown = nestor("families", "lightgbm", cwd=tmp_path).stdout
    assert all(line["name"] in shown for line in one["space"])
    assert one["source"][:20] in shown
    wrong = nestor("families", "lightgb", cwd=tmp_path)
    assert (wrong.returncode, "lightgbm" in wrong.stdout + wrong.stderr) == (2, True)


def test_one_search_is_shown_whole_at_any_width_and_all_where_there_is_room(monkeypatch):
    def shown(*words: str, columns: int) -> str:
        monkeypatch.setattr("flows.screen.printing.measure_width", lambda: columns)
        monkeypatch.setattr("flows.commands.searches.measure_width", lambda: columns)
        done = CliRunner().invoke(app, ["searches", *words])
        assert done.exit_code == 0
        return " ".join(done.output.split())

    source = "Falkner, Klein & Hutter 2018"
    for said in ("what", "Tree-structured"):
        assert said in shown(columns=160)
    assert "Tree-structured" not in shown(columns=80)
    assert "Tree-structured" in shown("tpe", columns=80)
    assert "source" in shown(columns=160)
    assert "Falkner" in shown(columns=160)
    assert "source" not in shown(columns=80)
    assert source in shown("bohb", columns=80)
    one = json.loads(shown("bohb", "--json", columns=80))
    assert (one["name"], one["available"], source in one["source"]) == ("bohb", "yes", True)
    for words, said in ((["bohbb"], "Did you mean bohb"), (["bohb", "--suggest", "loans"], "without the search bohb")):
        assert said in str(CliRunner().invoke(app, ["searches", *words]).exception)


def test_a_dry_run_tells_the_plan_and_leaves_nothing(table):
    words = ["train", "t.csv", "--target", "Über 50k?", "--trials", "5", "--families", "linear", "--dry-run", "--json"]
    done = nestor(*words, cwd=table)
    plan = json.loads(done.stdout)
    assert (plan["families"], plan["trials"], plan["rows"] + plan["sealed"]) == (["linear"], 5, 60)
    assert sorted(p.name for p in table.iterdir()) == ["t.csv"]


@pytest.mark.parametrize(
    ("words", "made"),
    [
        ("train a.csv --resume", "train a.csv --resume|"),
        ("train --resume there.csv", "train --resume| there.csv"),
        ("train --resume sklearn:iris", "train --resume| sklearn:iris"),
        ("train --resume env:SALES_DB", "train --resume| env:SALES_DB"),
        ("train --resume postgresql://host/db", "train --resume| postgresql://host/db"),
        ("train --resume sales-%Y-%m-%d.csv", "train --resume| sales-%Y-%m-%d.csv"),
        ("train --resume gone.parquet", "train --resume| gone.parquet"),
        ("train a.csv --resume --json", "train a.csv --resume| --json"),
        ("train a.csv --resume loans-2026", "train a.csv --resume loans-2026"),
        ("train a.csv --resume 0a1b2c3d", "train a.csv --resume 0a1b2c3d"),
        ("train a.csv --resume=x", "train a.csv --resume=x"),
    ],
)
def test_resume_takes_a_run_or_none(tmp_path, monkeypatch, words, made):
    monkeypatch.chdir(tmp_path)
    Path("there.csv").touch()
    want = [w for part in made.split() for w in ([part[:-1], ""] if part.endswith("|") else [part])]
    assert ending.fill_resume_value(words.split()) == want


@pytest.mark.parametrize("words", ["train a.csv", "train a.csv --resume=x", "train a.csv --resume|"])
def test_an_interrupted_command_names_the_one_that_goes_on(words):
    arguments = [w for part in words.split() for w in ([part[:-1], ""] if part.endswith("|") else [part])]
    assert ending.make_resume_command(arguments) == "nestor train a.csv --resume"
    assert "'a b.csv'" in ending.make_resume_command(["train", "a b.csv"])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NestorError("x"), 1),
        (InputError("x"), 2),
        (BudgetError("x"), 3),
        (InterruptedRunError("x"), 130),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(error, code):
    assert ending.report_error(error) == code


def test_an_unexpected_error_is_one_screen_and_a_file_with_the_rest(tmp_path):
    code = "import models.families as f, flows.cli\ndef bad(*_): 1 / 0\nf.load_families = bad\nflows.cli.main()"
    command = [sys.executable, "-c", code, "families"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=CALM)
    assert (done.returncode, done.stdout) == (1, "")
    assert "ZeroDivisionError" in done.stderr
    assert "Traceback" not in done.stderr
    (log,) = (tmp_path / "mlruns" / "logs").iterdir()
    assert str(log) in done.stderr
    assert "Traceback" in log.read_text()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=CALM | {"NESTOR_DEBUG": "1"})
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("words", [(), ("--help",)])
def test_alone_it_shows_the_help(words, tmp_path):
    done = nestor(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout
    assert "retrain" in done.stdout
    assert done.stderr == ""


def test_the_shell_completes_commands_and_options(tmp_path):
    asked = {"_NESTOR_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    assert "retrain" in nestor(cwd=tmp_path, COMP_WORDS="nestor re", **asked).stdout
    done = nestor(cwd=tmp_path, COMP_WORDS="nestor train --bud", **{**asked, "COMP_CWORD": "2"})
    assert "--budget" in done.stdout, done.stderr


def test_completion_can_be_installed(tmp_path):
    typed = f"{sys.executable} -m flows.cli --install-completion; exit $?"  # typed into a shell, which it looks for
    env = CALM | {"HOME": str(tmp_path)}
    done = subprocess.run(["bash", "-c", typed], cwd=tmp_path, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / ".bashrc").exists()


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("trian",), "train"),
        (("check", "t.csv", "-t", "Uber 50k?"), "Über 50k?"),
        (("train", "t.csv", "-t", "Über 50k?", "--taget", "b"), "--target"),
        (("check", "tt.csv", "-t", "b"), "t.csv"),
        (("families", "lightgmb"), "lightgbm"),
        (("searches", "tpee"), "tpe"),
    ],
)
def test_a_slip_is_told_with_what_was_meant(words, meant, table):
    done = nestor(*words, cwd=table)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    told = " ".join((done.stdout + done.stderr).replace("│", " ").split())
    assert "Did you mean" in told or "Possible options" in told
    assert meant in told.split("Did you mean")[-1]


def test_commands_are_told_as_they_can_be_typed_here(tmp_path, monkeypatch):
    beside = Path(sys.executable).with_name("nestor")
    monkeypatch.chdir(beside.parents[2])
    hints.find_program.cache_clear()
    monkeypatch.setenv("PATH", "/usr/bin")
    assert hints.as_typed("nestor runs a, not models:/nestor up") == ".venv/bin/nestor runs a, not models:/nestor up"
    hints.find_program.cache_clear()
    monkeypatch.setenv("PATH", str(beside.parent))
    assert hints.as_typed("see nestor runs loans; nestor is here") == "see nestor runs loans; nestor is here"
    hints.find_program.cache_clear()
