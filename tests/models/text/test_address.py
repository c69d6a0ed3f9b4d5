"""Addresses as they are shown: where to look, and nothing that opens a door."""

from __future__ import annotations

import shlex
from base64 import b64encode

import pytest

from models.text.address import HIDDEN, locate_pages, mask_address, mask_text

PW = "kAn4rY"
"""What must not be seen."""
SECRETIVE = {
    f"postgresql://me:{PW}@host:5432/db": "postgresql://***@host:5432/db",
    f"postgresql+psycopg://me@corp:{PW}@host/db": "postgresql+psycopg://***@host/db",
    f"postgresql://me%40corp:{PW}@host/db": "postgresql://***@host/db",
    f"postgresql://me%3A{PW}@host/db": "postgresql://***@host/db",
    f"postgresql://me:a@b{PW}@host/db": "postgresql://***@host/db",
    f"postgresql://me:a/b?c#{PW}@host/db": "postgresql://***@host/db",
    f"mysql://corp/me:{PW}@host/db": "mysql://***@host/db",
    f"mysql+pymysql://corp\\me:{PW}@host/db?charset=utf8mb4": "mysql+pymysql://***@host/db?charset=utf8mb4",
    f"postgresql://me:{PW} with blanks@host/db": "postgresql://***@host/db",
    f"postgresql://my name:{PW}@host/db": "postgresql://***@host/db",
    f"postgresql://me:'{PW}\"@host/db": "postgresql://***@host/db",
    f"postgresql://:{PW}@[::1]:5432/db": "postgresql://***@[::1]:5432/db",
    f"postgresql://host/db?user=me@corp&password={PW}": "postgresql://host/db?user=***&password=***",
    f"postgresql://host?user=me@corp&password={PW}": "postgresql://***",
    f"postgresql://host/db?sslmode=require&sslpassword={PW}": "postgresql://host/db?sslmode=require&sslpassword=***",
    f"postgresql://host/db?options=-c%20x={PW}": "postgresql://host/db?options=***",
    f"mssql+pyodbc:///?odbc_connect=DRIVER%3D%7BODBC%7D%3BUID%3Dme%3BPWD%3D{PW}": "mssql+pyodbc:///?odbc_connect=***",
    f"mssql+pyodbc://me:{PW}@source?driver=ODBC+Driver+18": "mssql+pyodbc://***@source?driver=ODBC+Driver+18",
    f"jdbc:sqlserver://host:1433;user=me;password={PW}": "jdbc:sqlserver://***",
    f"databricks://token:{PW}@host:443/default": "databricks://***@host:443/default",
    f"snowflake://{PW}@account/db": "snowflake://***@account/db",
    f"bigquery://project/set?credentials_base64={PW}": "bigquery://project/set?credentials_base64=***",
    f"https://host/mlflow?access_token={PW}": "https://host/mlflow?access_token=***",
    f"https://host/mlflow?api_key={PW}&a=b": "https://host/mlflow?api_key=***&a=***",
    f"https://host/mlflow?{PW}": "https://host/mlflow?***",
    f"https://host/mlflow#access_token={PW}": "https://host/mlflow#***",
    f"https://host/mlflow;jsessionid={PW}": "https://host/mlflow;***",
    f"https://{PW}@host/mlflow": "https://***@host/mlflow",
    f"https://me@corp:{PW}@host:5000": "https://***@host:5000",
    f"https://bucket.s3.amazonaws.com/a.csv?X-Amz-Credential=A%2Fb&X-Amz-Signature={PW}": (
        "https://bucket.s3.amazonaws.com/a.csv?X-Amz-Credential=***&X-Amz-Signature=***"
    ),
    f"https://account.blob.core.windows.net/c/a.csv?sv=2024&sig={PW}%3D": (
        "https://account.blob.core.windows.net/c/a.csv?sv=***&sig=***"
    ),
    f"s3://key:{PW}@bucket/path/a.csv": "s3://***@bucket/path/a.csv",
    f"http://host:{PW}/": "http://***",
}
OPEN = [
    "sqlite:////a folder/me@corp:x/mlflow.db",
    "sqlite:///mlruns/mlflow.db?mode=ro&uri=true",
    "sqlite:///C:\\data\\a=b;c.db",
    "sqlite://",
    "postgresql://db/mlflow",
    "postgresql://me@host/shop",
    "postgresql://me@corp@host:5432/shop?sslmode=verify-full",
    "postgresql+psycopg://host:5432/shop",
    "http://127.0.0.1:5000",
    "https://tracking.example/mlflow/#/runs/abc",
    "http://[::1]:5000/",
    "s3://bucket/a/b.csv",
    "mlflow-artifacts://host/a",
    "sklearn:iris",
    "sales-%Y.csv",
    "token=5/part.csv",
    "env:SALES_DB",
]


@pytest.mark.parametrize("address", SECRETIVE)
def test_an_address_is_shown_without_what_is_secret_in_it(address):
    shown = mask_address(address)
    assert PW not in shown
    assert SECRETIVE[address] == shown
    assert mask_address(shown) == shown


@pytest.mark.parametrize("address", OPEN)
def test_an_address_with_nothing_secret_is_shown_as_it_is(address):
    assert mask_address(address) == address


SENTENCES = [
    "Can't connect to {}: the server said no.",
    "connect('{}', timeout=5) failed",
    'File "a.py": create_engine("{}")',
    "<see {}>, or me@example.com",
    "nestor train --data={} --target y\nsecond line, bob@host",
]


@pytest.mark.parametrize("sentence", SENTENCES)
@pytest.mark.parametrize("address", SECRETIVE)
def test_a_text_that_repeats_an_address_is_shown_without_what_is_secret_in_it(address, sentence):
    shown = mask_text(sentence.format(address))
    assert PW not in shown
    assert mask_text(shown) == shown
    start, end = sentence.split("{}")
    assert shown.startswith(start)
    if not any(sign in address for sign in "' \"") and address != f"http://host:{PW}/":
        assert shown.endswith(end)


@pytest.mark.parametrize(
    "text",
    [
        f"host=h password={PW} user=me",
        f"host=h password='{PW} and more' user=me",
        f"DRIVER={{ODBC}};UID=me;PWD={{{PW};x}};",
        f"odbc_connect=DRIVER%3DX%3BPWD%3D{PW}%3BUID%3Dme",
        f'{{"user": "me", "db_password": "{PW}"}}',
        f"{{'api-key': '{PW}', 'a': 1}}",
        f"AWS_SECRET_ACCESS_KEY={PW}",
        f"Authorization: Bearer {PW}{PW}",
        f"MLFLOW_TRACKING_TOKEN = {PW}",
    ],
)
def test_what_is_called_a_secret_is_not_shown(text):
    assert PW not in mask_text(text)
    assert mask_text(mask_text(text)) == mask_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "FATAL: password authentication failed for user 'me'",
        "see http://127.0.0.1:5000/#/runs/a1, then models:/loans@champion",
        "http://127.0.0.1:4200 says: mail me@example.com",
        "a word, a colon: an @ and /a/path/token=5/x",
    ],
)
def test_a_text_without_secrets_stays(text):
    assert mask_text(text) == text


@pytest.mark.parametrize("login", [f"me:{PW}", f":{PW}", f"Müller:{PW}", "nestor:" + "0f" * 16])
@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_a_login_is_not_shown_and_a_word_is(login, cut):
    whole = b64encode(login.encode()).decode()
    assert mask_text(f"sent Basic {whole[: len(whole) - cut]}") == "sent Basic ***"


@pytest.mark.parametrize(
    "word", ["statistics", "information", "configuration.", "/usr/share/x", "Überblick-2026", "a" * 9]
)
def test_what_only_reads_like_a_login_stays(word):
    assert mask_text(f"Basic {word} of it") == f"Basic {word} of it"


LONG = 200_000
"""Characters for which a search that begins anew at each of them takes hours."""
UNITS = [
    "-", ".", "a.a.", "a-", "x=", " ", "'", '"', " '", "\"'", "token", "token ", "token-", "token.", "token=",
    "token={,", "token='", "token='\"", "token   =", "'token' :", "%3D", "pwd%3D", "{", "Basic ", "Basic aGk6", "a:",
    ":", ";", "/", "//", "://", "a://", "a://:", "a://x:", "a://'", "a://)", "a://x@", "@", "a://b/c?token=d&",
]  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_a_long_text_is_done_in_time_that_grows_with_its_length(unit):
    text = unit * (LONG // len(unit))
    assert mask_text(text)
    assert mask_text(f"http://{text}@")


@pytest.mark.parametrize("address", ["http://127.0.0.1:5000", "https://tracking.example/mlflow"])
def test_a_server_is_looked_at_where_it_is(address):
    assert locate_pages(mask_address(address)) == address


@pytest.mark.parametrize("address", ["sqlite:////a folder/mlflow.db", f"postgresql://{HIDDEN}@db/mlflow"])
def test_what_shows_a_store_can_be_pasted_into_a_shell(address):
    assert shlex.split(locate_pages(address)) == ["mlflow", "ui", "--backend-store-uri", address]
