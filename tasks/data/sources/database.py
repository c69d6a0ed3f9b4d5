"""What a query gives, as a parquet file: values are bound, never pasted; types are the database's own.

Reading is all that is done: PostgreSQL and SQLite are told so (a transaction that may only read), and nowhere is
anything committed. That guards against mistakes; against ill will an account that may only read does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from models.errors import InputError, NestorError, join_names
from models.text.address import HIDDEN, mask_address
from models.text.safe import shorten
from tasks.data.formats.pieces import store_chunks, to_arrow_table
from tasks.data.headers import suggest_near_names
from tasks.data.sources.moments import parse_moment
from tasks.system.secret_addresses import hide_passwords, is_address_reference, resolve_address

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine, TextClause

CHUNK = 50_000
"""Rows that are in memory at once."""
TABLE = re.compile(r"[^\s;()'\"]+")
READS = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/|\()*(select|with|values|table)\b", re.I | re.S)


def is_address(data: object) -> bool:
    """Whether the data is a database address, or says where one is kept."""
    return isinstance(data, str) and (is_address_reference(data) or bool(re.match(r"[a-z][a-z0-9_+]*://", data)))


def is_table(query: str) -> bool:
    """Whether the query is a table's name alone."""
    return bool(TABLE.fullmatch(query.strip()))


def fetch_query(address: str, query: str | None, bound: Mapping[str, str], now: datetime, folder: Path) -> Path:
    """The parquet file in `folder` that holds what the query gives; its name is the content's digest. InputError where
    the address, the query or a bound value is wrong, or nothing comes."""
    label = mask_address(address)
    url = _make_url(address)
    if not query:
        raise InputError(
            f"{label} is a database: which rows of it? Give --query: a table's name, or such as "
            '"select * from sales where day >= :since" with --bind since=today-28d.'
        )
    values = {name: parse_moment(value, now) for name, value in bound.items()}
    with _open_connection(url, label) as connection:
        statement = _bind_query(connection, query, values)
        path = store_chunks(_read_chunks(connection, statement, label), folder, f"{label} ({shorten(query, 80)})")
    if path is None:
        with_values = f" with {join_names(f'{name} = {value}' for name, value in values.items())}" if values else ""
        raise InputError(f"{label}: the query gave no rows{with_values}: {shorten(query, 120)}")
    return path


# ---------------------------------------------------------------- the address


def _make_url(address: str) -> URL:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        url = make_url(resolve_address(address))
        if url.drivername in ("postgresql", "postgres"):
            url = url.set(drivername="postgresql+psycopg")
        url.get_dialect()
    except NoSuchModuleError:
        raise InputError(
            f"{mask_address(address)} is an address of no database that is known here; known are such as "
            "postgresql://user@host/database and sqlite:///file.db. A file has to be on this machine."
        ) from None
    except (ArgumentError, ValueError):
        raise InputError(
            f"{mask_address(address)} is no database address: postgresql://user@host:5432/database."
        ) from None
    if HIDDEN in address:
        raise InputError(
            f"The password of {mask_address(address)} was never kept. Put the address into an environment variable or "
            "a "
            "Prefect Secret, and name that: env:NAME or secret:NAME."
        )
    _refuse_absent(url)
    return url


def _refuse_absent(url: URL) -> None:
    """SQLite would make an empty file of any name."""
    file = url.database or ""
    if url.get_backend_name() == "sqlite" and file and file != ":memory:" and not file.startswith("file:"):
        path = Path(file).expanduser()
        if not path.is_file():
            names = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
            raise InputError(f"No database file {path}.{suggest_near_names(path.name, names) if names else ''}")


@contextmanager
def _open_connection(url: URL, label: str) -> Iterator[Connection]:
    """A connection that may only read, and is closed without a commit."""
    from sqlalchemy.exc import SQLAlchemyError

    engine = _make_engine(url)
    try:
        connection = engine.connect()
    except (SQLAlchemyError, OSError) as error:
        raise InputError(
            f"Can't connect to {label}: {_describe_reason(error, url)}.{_advise_on_password(error)}"
        ) from None
    try:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA query_only = ON")
        yield connection
    finally:
        connection.close()
        engine.dispose()


def _make_engine(url: URL) -> Engine:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    is_postgres = url.drivername == "postgresql+psycopg"
    patience = {"connect_timeout": 15} if is_postgres and "connect_timeout" not in url.query else {}
    options = {"postgresql_readonly": True} if url.get_backend_name() == "postgresql" else {}
    try:
        return create_engine(url, poolclass=NullPool, connect_args=patience, execution_options=options)
    except ModuleNotFoundError as error:
        advice = (
            "pip install 'nestor[postgres]' (or psycopg[binary])"
            if is_postgres
            else f"install the package {error.name}"
        )
        raise InputError(
            f"{url.get_backend_name()} needs the driver {error.name}, which is not here: {advice}."
        ) from None


def _describe_reason(error: BaseException, url: URL) -> str:
    """The database's own first line, without the password, whatever it quotes."""
    text = str(getattr(error, "orig", None) or error).strip().split("\n")[0]
    text = re.sub(r"^connection failed: |^connection to server at .*? failed: |FATAL:\s+|^ERROR:\s+", "", text)
    return shorten(hide_passwords(text.replace(url.password, HIDDEN) if url.password else text), 200).rstrip(".")


def _advise_on_password(error: BaseException) -> str:
    if "password" in str(error).lower():
        return " The address may hold the password, as env:NAME or secret:NAME; PGPASSWORD and ~/.pgpass count too."
    return ""


# ---------------------------------------------------------------- the query


def _bind_query(connection: Connection, query: str, values: Mapping[str, Any]) -> TextClause:
    """The query with its values bound; a bare table name means all of its rows."""
    from sqlalchemy import bindparam, text
    from sqlalchemy.types import DateTime, NullType

    if is_table(query):
        quote = connection.dialect.identifier_preparer.quote
        query = f"select * from {'.'.join(quote(part) for part in query.strip().split('.'))}"
    if not READS.match(query):
        raise InputError(f"A query begins with SELECT or WITH, or is a table's name, not {shorten(query, 60)!r}.")
    statement = text(query)
    names = list(statement._bindparams)
    missing = [name for name in names if name not in values]
    if missing:
        raise InputError(
            f"The query needs {join_names(f':{name}' for name in missing)}: give --bind {missing[0]}=VALUE, such as "
            f"{missing[0]}=today-28d. Given: {join_names(values) or 'none'}. (A colon that is no name is written \\:.)"
        )
    surplus = [name for name in values if name not in names]
    if surplus:
        raise InputError(
            f"The query has no :{surplus[0]}; it names {join_names(f':{n}' for n in names) or 'no value'}."
        )
    # Text has no type of its own: the database reads '30' as what it is compared with.
    types = {str: NullType(), datetime: DateTime(timezone=True)}
    return statement.bindparams(*(bindparam(n, value, type_=types.get(type(value))) for n, value in values.items()))


def _read_chunks(connection: Connection, statement: TextClause, label: str) -> Iterator[pa.Table]:
    """The result by chunks, each typed by its values."""
    from sqlalchemy.exc import SQLAlchemyError

    url = connection.engine.url
    try:
        result = connection.execution_options(yield_per=CHUNK).execute(statement)
        names = list(result.keys())
        for rows in result.partitions():
            yield to_arrow_table(names, rows)
    except SQLAlchemyError as error:
        if getattr(error, "connection_invalidated", False):
            raise NestorError(f"{label} broke the connection off: {_describe_reason(error, url)}. Try again.") from None
        raise InputError(
            f"{label}: the query can't be run: {_describe_reason(error, url)}.{_describe_tables(connection)}"
        ) from None


def _describe_tables(connection: Connection) -> str:
    """` Its tables: ...`, where they can be listed."""
    from sqlalchemy import inspect
    from sqlalchemy.exc import SQLAlchemyError

    try:
        connection.rollback()
        names = inspect(connection).get_table_names()
    except SQLAlchemyError:
        return ""
    return f" Its tables: {join_names(names)}." if names else " It holds no tables."
