"""Where tables come from: the newest dated file, SQLite, a real PostgreSQL; and nothing that tells a password."""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from flows.screen import ending
from models.config import Run
from models.data.table import Table
from models.errors import InputError
from tasks.data import fetch_data, read_table
from tasks.data.formats.pieces import store_chunks, to_arrow_table
from tasks.data.sources.dated import remove_date, resolve_path
from tasks.data.sources.moments import parse_moment
from tasks.data.sources.source import load_raw_table
from tasks.run.folder import Workdir
from tasks.run.resume import choose_model_name, to_run_settings
from tasks.system import secret_addresses
from tests import stack
from tests.runs import begin_run

NOW = datetime(2026, 3, 11, 9, 30, tzinfo=timezone(timedelta(hours=1)))  # a Wednesday
ROWS = 40


# ---------------------------------------------------------------- dated paths


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("a,y\n" + "".join(f"{i % 7},{i % 2}\n" for i in range(30)))


@pytest.mark.parametrize(
    ("pattern", "there", "chosen"),
    [
        ("sales-%Y-%m-%d.csv", ["sales-2026-03-09.csv", "sales-2026-03-10.csv", "sales-2026-03-12.csv"], 1),
        ("sales-%Y-%m-%d.csv", ["sales-2025-12-31.csv", "sales-2026-01-01.csv", "sales-2026-02-30.csv"], 1),
        ("%d.%m.%Y.csv", ["11.02.2026.csv", "09.03.2026.csv", "28.02.2026.csv"], 1),
        ("%Y/%m/sales-%d.csv", ["2026/02/sales-28.csv", "2026/03/sales-01.csv", "2026/03/other-05.csv"], 1),
        ("%Y/sales-%Y-%m.csv", ["2025/sales-2026-03.csv", "2026/sales-2026-02.csv"], 1),
        ("s-%G-W%V.csv", ["s-2026-W09.csv", "s-2026-W11.csv", "s-2026-W12.csv"], 1),
        ("s-%Y%m%dT%H%M.csv", ["s-20260311T0700.csv", "s-20260311T0830.csv", "s-20260310T2359.csv"], 1),
        ("s[1]-%y%j.csv", ["s[1]-26069.csv", "s[1]-26070.csv", "s1-26070.csv"], 1),
        ("100%%-%Y.csv", ["100%-2025.csv", "100%-2026.csv", "100%%-2026.csv"], 1),
        ("sales-%Y.csv", ["sales-2026.csv.part", "sales-2024.csv", "sales-2026"], 1),
    ],
)
def test_the_newest_file_that_fits_is_chosen(tmp_path: Path, pattern: str, there: list[str], chosen: int) -> None:
    put(tmp_path, *there)
    path, said = resolve_path(tmp_path / pattern, NOW.date())
    assert path == tmp_path / there[chosen]
    assert said is not None
    assert str(path) in said.message


@pytest.mark.parametrize("name", ["growth%.csv", "a-%Y.csv", "50%.csv", "plain.csv", "%q.csv"])
def test_a_path_that_is_no_pattern_or_a_file_as_it_stands_is_itself(tmp_path: Path, name: str) -> None:
    put(tmp_path, name, "a-2026.csv")
    assert resolve_path(tmp_path / name, NOW.date()) == (tmp_path / name, None)


@pytest.mark.parametrize(
    ("pattern", "there", "says"),
    [
        ("sales-%Y-%m-%d.csv", ["sale-2026-03-11.csv", "x.txt"], "holds sale-2026-03-11.csv"),
        ("sales-%Y-%m-%d.csv", [], "is empty"),
        ("sales-%Y-%m-%d.csv", ["sales-2026-03-12.csv"], "of 2026-03-11 or before: the first is"),
        ("none/sales-%Y.csv", [], "there is no folder"),
        ("%Y/%m/sales.csv", ["2026/readme.txt"], "No file fits"),
        ("sales-%d.csv", ["sales-01.csv"], "holds no year"),
    ],
)
def test_where_no_file_fits_the_pattern_and_what_there_is_are_said(
    tmp_path: Path, pattern: str, there: list[str], says: str
) -> None:
    put(tmp_path, *there)
    with pytest.raises(InputError, match=says) as error:
        resolve_path(tmp_path / pattern, NOW.date())
    assert str(tmp_path / pattern) in str(error.value)


def test_a_dated_path_is_read_and_the_file_is_said(tmp_path: Path) -> None:
    put(tmp_path, "sales-2026-03-10.csv", "sales-2026-03-20.csv")
    run = Run(data=str(tmp_path / "sales-%Y-%m-%d.csv"), target="y")
    table = read_table(run, NOW)
    assert table.reading.source == str(tmp_path / "sales-2026-03-10.csv")
    assert (table.name, choose_model_name(run)) == ("sales", "sales")
    assert "newest_file" in {f.check for f in table.findings}
    assert fetch_data(run.data, folder=tmp_path, now=NOW) == table.reading.source


def test_a_resumed_run_counts_dates_from_when_it_began(tmp_path: Path) -> None:
    put(tmp_path, "sales-2026-03-10.csv", "sales-2026-03-20.csv")
    run = Run(data=str(tmp_path / "sales-%Y-%m-%d.csv"), target="y")
    Workdir(tmp_path / "run").write_json("run.json", {"begun": NOW.timestamp()})
    sealed = begin_run(run, tmp_path / "run", pool=NoPool)
    assert sealed.table.reading.source == str(tmp_path / "sales-2026-03-10.csv")


class NoPool:
    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(
    ("name", "bare"),
    [("sales-%Y-%m-%d.csv", "sales.csv"), ("%Y%m%d_sales.csv", "_sales.csv"), ("a-%Y-W%V-north.csv", "a-W-north.csv"),
     ("sales.csv", "sales.csv")],
)  # fmt: skip
def test_a_name_without_its_date(name: str, bare: str) -> None:
    assert remove_date(name) == bare


@pytest.mark.parametrize("form", ["csv.zst", "parquet.zst"])
def test_zstd_is_read_from_a_dated_path(tmp_path: Path, form: str) -> None:
    frame = pd.DataFrame({"a": np.arange(30) % 7, "y": np.arange(30) % 2})
    whole = frame.to_csv(index=False).encode() if form == "csv.zst" else frame.to_parquet()
    assert whole is not None
    with pa.output_stream(tmp_path / f"s-2026-03-01.{form}", compression="zstd") as stream:
        stream.write(whole)
    assert read_table(Run(data=str(tmp_path / f"s-%Y-%m-%d.{form}"), target="y"), NOW).rows == 30


# ---------------------------------------------------------------- moments


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("today", date(2026, 3, 11)),
        ("today-7d", date(2026, 3, 4)),
        ("today + 1w", date(2026, 3, 18)),
        ("TODAY-0d", date(2026, 3, 11)),
        ("now", NOW),
        ("now-12h", NOW - timedelta(hours=12)),
        ("now-2d", NOW - timedelta(days=2)),
        ("2026-01-01", "2026-01-01"),
        ("nowhere", "nowhere"),
        ("today's", "today's"),
        ("30", "30"),
        ("", ""),
    ],
)
def test_a_moment_is_counted_from_now(text: str, value: object) -> None:
    assert parse_moment(text, NOW) == value
    assert type(parse_moment(text, NOW)) is type(value)


@pytest.mark.parametrize("text", ["today-7", "today-7m", "now-x", "today-12h", "today - ", "today-999999w"])
def test_what_begins_like_a_moment_and_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_moment(text, NOW)


# ---------------------------------------------------------------- SQLite


SINCE = "select * from sales where day >= :since"


@pytest.fixture
def shop(tmp_path: Path) -> str:
    """A SQLite database with a row a day up to now."""
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.execute("create table sales (day date, pieces int, price decimal(8, 2), kind text, zip text)")
        rows = [(str(NOW.date() - timedelta(days=i)), None if i % 9 == 5 else i % 11, 1.5 * i, "ab"[i % 2],
                 f"0{i % 6}") for i in range(ROWS)]  # fmt: skip
        connection.executemany("insert into sales values (?, ?, ?, ?, ?)", rows)
        connection.commit()
    return f"sqlite:///{tmp_path / 'shop.db'}"


def test_a_query_gives_the_rows_that_its_bound_values_ask_for(shop: str) -> None:
    run = Run(data=shop, query=SINCE, bound={"since": "today-28d"}, target="kind", name="sales")
    table = read_table(run, NOW)
    assert table.rows == 29
    assert table.kinds == {"day": "date", "pieces": "number", "price": "number", "zip": "category"}
    assert table.features["pieces"].isna().sum() == 3
    assert table.features["day"].min() == pd.Timestamp(NOW.date() - timedelta(days=28))


def test_a_table_s_name_means_all_its_rows_and_names_the_model(shop: str) -> None:
    run = Run(data=shop, query="sales", target="kind")
    assert (read_table(run).rows, choose_model_name(run)) == (ROWS, "sales")


def test_what_is_fetched_is_read_as_the_same_table(shop: str, tmp_path: Path) -> None:
    path = fetch_data(shop, SINCE, {"since": "today-28d"}, folder=tmp_path / "here", now=NOW)
    assert (
        fetch_data(shop, SINCE, {"since": "2026-02-11"}, folder=tmp_path / "here", now=NOW) == path
    )  # the same content
    assert fetch_data(shop, "sales", {}, folder=tmp_path / "here", now=NOW) != path
    assert sorted(p.name for p in (tmp_path / "here").iterdir()) == sorted({Path(path).name} | set(_tables(tmp_path)))
    one, other = (
        read_table(Run(data=path, target="kind")),
        read_table(Run(data=shop, query=SINCE, bound={"since": "today-28d"}, target="kind"), NOW),
    )
    assert one.fingerprint == other.fingerprint
    assert one.reading.source == other.reading.source == f"{shop} ({SINCE})"


def _tables(folder: Path) -> list[str]:
    return [p.name for p in (folder / "here").glob("table-*.parquet")]


def test_other_data_is_fetched_as_it_is(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1]})
    assert fetch_data(frame, folder=tmp_path) is frame
    assert fetch_data("sklearn:iris", folder=tmp_path) == "sklearn:iris"


def test_a_value_is_bound_and_never_pasted(shop: str) -> None:
    evil = "'; drop table sales; --"
    with pytest.raises(InputError, match="gave no rows with kind = '; drop table"):
        load_raw_table(shop, "select * from sales where kind = :kind", {"kind": evil})
    assert len(load_raw_table(shop, "sales").frame) == ROWS


@pytest.mark.parametrize(
    ("address", "query", "bound", "says"),
    [
        ("{shop}", None, {}, "is a database: which rows of it\\? Give --query"),
        ("{shop}", "select * from sale", {}, "no such table: sale. Its tables: sales."),
        ("{shop}", "sale", {}, "no such table: sale. Its tables: sales."),
        ("{shop}", "select price from sales where dya > 3", {}, "no such column: dya"),
        ("{shop}", SINCE, {}, "needs :since: give --bind since=VALUE"),
        ("{shop}", SINCE, {"sicne": "today"}, "needs :since.* Given: sicne"),
        ("{shop}", SINCE, {"since": "today", "till": "now"}, "no :till; it names :since"),
        ("{shop}", SINCE, {"since": "today+9d"}, "gave no rows with since = 2026-03-20"),
        ("{shop}", SINCE, {"since": "today-9"}, "is no moment"),
        ("{shop}", "delete from sales", {}, "begins with SELECT or WITH"),
        ("{shop}", "with a as (select 1) delete from sales", {}, "readonly database"),
        ("{shop}", "select 1; drop table sales", {}, "one statement at a time"),
        ("sqlite:///none.db", "sales", {}, "No database file none.db"),
        ("oracel://me@host/db", "sales", {}, "no database that is known here"),
        ("s3://bucket/a.csv", "sales", {}, "no database that is known here"),
        ("postgresql://me:hun@ter2@host:port/db", "sales", {}, "no database address"),
        ("mysql://me:hunter2@host/db", "sales", {}, "needs the driver MySQLdb"),
        ("postgresql://me:***@host/db", "sales", {}, "was never kept"),
        ("env:NESTOR_NONE", "sales", {}, "environment variable NESTOR_NONE is not set"),
        ("a.csv", "sales", {}, "go with a database address; the data is a.csv"),
        ("sklearn:iris", None, {"a": "1"}, "go with a database address"),
    ],
)
def test_what_is_wrong_is_one_sentence_without_a_password(
    shop: str, address: str, query: str | None, bound: dict[str, str], says: str
) -> None:
    with pytest.raises(InputError, match=says) as error:
        load_raw_table(address.format(shop=shop), query, bound, NOW)
    assert "ter2" not in str(error.value)
    assert "\n" not in str(error.value)
    assert len(load_raw_table(shop, "sales").frame) == ROWS  # nothing was harmed


def test_a_database_file_is_not_made_by_asking_for_it(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        load_raw_table(f"sqlite:///{tmp_path}/new.db", "t")
    assert not list(tmp_path.iterdir())


def test_a_missing_driver_is_told_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(InputError, match=r"pip install 'nestor\[postgres\]'"):
        load_raw_table("postgresql://me@127.0.0.1:1/db", "t")


# ---------------------------------------------------------------- chunks


def test_chunks_of_other_types_become_one_column(tmp_path: Path) -> None:
    chunks = [
        to_arrow_table(["a", "a", "b", "c"], [(None, 1, Decimal("1.5"), None), (None, 2, None, None)]),
        to_arrow_table(
            ["a", "a", "b", "c"], [(date(2026, 1, 1), 2.5, Decimal("100.25"), "x"), (None, None, None, None)]
        ),
        to_arrow_table(["a", "a", "b", "c"], [(None, 3, 7, 8)]),
    ]
    path = store_chunks(iter(chunks), tmp_path, "here")
    assert path is not None
    frame = load_raw_table(str(path)).frame
    assert list(frame.columns) == ["a", "a.2", "b", "c"]
    assert frame["a"].dropna().tolist() == [pd.Timestamp("2026-01-01")]
    assert frame["a.2"].dropna().tolist() == [1, 2, 2.5, 3]
    assert frame["b"].dropna().tolist() == [1.5, 100.25, 7]
    assert frame["c"].dropna().tolist() == ["x", "8"]


def test_nothing_is_stored_of_no_rows(tmp_path: Path) -> None:
    assert store_chunks(iter([]), tmp_path, "here") is None
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- PostgreSQL


@pytest.fixture(scope="module")
def postgres() -> Iterator[stack.PostgresServer]:
    """A server with a table of every type; its user `reader` needs a password."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as hba:
        hba.write("host all nestor 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        hba.flush()
        os.chmod(hba.name, 0o644)
        with stack.run_postgres("-c", f"hba_file={hba.name}") as server:
            server.database("reader", "pass:w@rd")
            server.say(TYPES, "reader")
            server.say("grant all on all tables in schema public to reader", "reader")
            yield server


TYPES = f"""
create table sales as select
    date '2026-03-11' - i as day, timestamptz '2026-03-11 08:00+00' - i * interval '1 hour' as at,
    (i * 1.25)::numeric(10, 2) as price, case when i % 9 = 5 then null else i end as pieces, i % 3 = 0 as member,
    case when i % 2 = 0 then 'yes' else 'no' end as back, md5(i::text)::uuid as key, array[i] as list,
    interval '1 minute' * (i % 7) as took, 'a:b %' as note, (i % 4)::smallint as grade, time '10:00' as clock,
    cast(null as text) as nothing
from generate_series(0, {ROWS - 1}) as i
"""


def address(server: stack.PostgresServer, password: str | None = "pass:w%40rd", driver: str = "") -> str:
    secret = "" if password is None else f":{password}"
    return f"postgresql{driver}://reader{secret}@127.0.0.1:{server.port}/reader"


def test_postgresql_gives_typed_columns(postgres: stack.PostgresServer) -> None:
    table: Table = read_table(Run(data=address(postgres), query="sales", target="back", name="sales"), NOW)
    assert table.rows == ROWS
    assert table.kinds | {} == {
        "day": "date", "at": "date", "price": "number", "pieces": "number", "member": "boolean",
        "took": "number", "note": "category", "grade": "number", "clock": "number",
    }  # fmt: skip
    assert table.features["price"].tolist()[:3] == [0, 1.25, 2.5]
    assert table.features["pieces"].isna().sum() == sum(i % 9 == 5 for i in range(ROWS))
    assert table.features["at"][0] == pd.Timestamp("2026-03-11 08:00")
    assert table.features["took"].max() == 360
    assert table.reading.source.startswith("postgresql://***@127.0.0.1")


@pytest.mark.parametrize(
    ("query", "bound", "rows"),
    [
        ("select * from sales where day >= :since", {"since": "today-7d"}, 8),
        ("select * from sales where day between :a and :b", {"a": "2026-03-01", "b": "today"}, 11),
        ("select * from sales where at > :since", {"since": "now-12h"}, 12),
        ("select * from sales where price > :low and back = :back", {"low": "10", "back": "no"}, 16),
        ("select * from sales where note like 'a\\:b %' and day::date = :day", {"day": "today"}, 1),
        ("with few as (select * from sales limit 5) select * from few -- :since?\n", None, 5),
        ("/* all */ (select * from sales)", {}, ROWS),
        ("public.sales", {}, ROWS),
    ],
)
def test_postgresql_binds_what_values_mean(
    postgres: stack.PostgresServer, query: str, bound: dict[str, str] | None, rows: int
) -> None:
    if bound is None:  # even in a comment a name is a name
        query, bound = query.replace(":since?", ""), {}
    assert len(load_raw_table(address(postgres), query, bound, NOW).frame) == rows


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("selling", 'relation "selling" does not exist. Its tables: sales.'),
        ("select * from sales where price > 'a'", "invalid input syntax"),
        (
            "with gone as (delete from sales returning *) select * from gone",
            "DECLARE CURSOR must not contain|read-only",
        ),
        ("select 1; drop table sales", "cannot insert multiple commands|syntax error"),
        ("select pg_sleep(0) from sales where false", "gave no rows"),
    ],
)
def test_postgresql_says_what_is_wrong_and_nothing_is_changed(
    postgres: stack.PostgresServer, query: str, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        load_raw_table(address(postgres), query, {}, NOW)
    assert postgres.say("select count(*) from sales", "reader") == [(ROWS,)]


def test_a_database_that_quotes_the_password_is_not_repeated(postgres: stack.PostgresServer) -> None:
    with pytest.raises(InputError, match=r'invalid input syntax for type integer: "\*\*\*"'):
        load_raw_table(address(postgres), "select cast('pass:w@rd' as int)")


def test_postgresql_s_reads_may_write_nothing(postgres: stack.PostgresServer) -> None:
    postgres.say(
        "create or replace function spoil() returns int language sql as 'delete from sales returning 1'", "reader"
    )
    with pytest.raises(InputError, match="read-only transaction"):
        load_raw_table(address(postgres), "select spoil()")
    assert postgres.say("select count(*) from sales", "reader") == [(ROWS,)]


@pytest.mark.parametrize(
    ("password", "port", "says"),
    [
        ("wr0ng", None, 'password authentication failed for user "reader"'),
        (None, None, "no password supplied.*env:NAME or secret:NAME"),
        ("wr0ng", 1, "Connection refused"),
    ],
)
def test_a_refused_connection_is_told_without_the_password(
    postgres: stack.PostgresServer, password: str | None, port: int | None, says: str
) -> None:
    known = address(postgres, password)
    with pytest.raises(InputError, match=says) as error:
        load_raw_table(known if port is None else known.replace(str(postgres.port), str(port)), "sales")
    assert "Can't connect to postgresql://" in str(error.value)
    assert "wr0ng" not in str(error.value)


# ---------------------------------------------------------------- secrets


@pytest.mark.parametrize("driver", ["", "+psycopg"])
def test_an_address_may_be_kept_in_the_environment(
    postgres: stack.PostgresServer, monkeypatch: pytest.MonkeyPatch, driver: str
) -> None:
    monkeypatch.setenv("SALES_DB", address(postgres, driver=driver))
    raw = load_raw_table("env:SALES_DB", "sales")
    assert (len(raw.frame), raw.source) == (ROWS, "env:SALES_DB (sales)")
    assert choose_model_name(Run(data="env:SALES_DB", query="public.sales")) == "sales"


@pytest.mark.prove  # a Prefect server of its own takes fifteen seconds
def test_a_secret_is_asked_of_the_server_that_is_said(monkeypatch: pytest.MonkeyPatch, shop: str) -> None:
    from prefect.blocks.system import Secret
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        Secret(value=shop).save("shop-db")  # pyright: ignore[reportArgumentType]
        assert len(load_raw_table("secret:shop-db", "sales").frame) == ROWS
        with pytest.raises(InputError, match="No Secret block 'none' in Prefect"):
            load_raw_table("secret:none", "sales")
        asked: list[int] = []
        token = secret_addresses.server.set(lambda: asked.append(1) or {})
        assert secret_addresses.resolve_address("secret:shop-db") == shop
        secret_addresses.server.reset(token)
        assert asked


def test_an_address_with_no_scheme_is_not_shown_since_it_may_be_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALES_DB", "hunter2")
    with pytest.raises(InputError, match="env:SALES_DB holds no database address") as error:
        load_raw_table("env:SALES_DB", "sales")
    assert "hunter2" not in str(error.value)


SECRET = "postgresql://me:hunter2@host/db?sslpassword=hunter2"


def test_settings_are_written_and_shown_without_the_password() -> None:
    from flows.train import train

    run = Run(data=SECRET, query="sales", test=SECRET, target="y")
    written: dict[str, Any] = train.serialize_parameters({"run": run})
    for shown in (repr(run), str(run), run.model_dump_json(), str(to_run_settings(run)), str(written)):
        assert "postgresql://***@host" in shown
        assert "hunter2" not in shown
    assert run.data == SECRET


def test_the_log_and_the_command_to_go_on_with_hold_no_password(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["nestor", "train", SECRET])
    monkeypatch.setattr(ending, "_locate_log", lambda: tmp_path / "log")
    ending.report_error(RuntimeError(f"can't reach {SECRET}"))
    assert "hunter2" not in (tmp_path / "log").read_text() + capsys.readouterr().err
    assert "hunter2" not in ending.make_resume_command(sys.argv[1:])


def test_libraries_log_no_password(postgres: stack.PostgresServer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        load_raw_table(address(postgres), "sales")
    assert "w@rd" not in caplog.text
    assert "w%40rd" not in caplog.text


def test_a_link_to_nothing_says_where_it_leads(tmp_path):
    link = tmp_path / "broken.csv"
    link.symlink_to("nowhere.csv")
    with pytest.raises(InputError, match=r"The link .*/broken.csv leads to nowhere.csv, which is not there\.$"):
        load_raw_table(str(link))
    (tmp_path / "nowhere.csv").write_text("a,b\n1,2\n")
    assert list(load_raw_table(str(link)).frame) == ["a", "b"]
    link.unlink()
    link.symlink_to(link.name)
    with pytest.raises(InputError, match=r"leads to broken.csv, which is not there|can't be read"):
        load_raw_table(str(link))
