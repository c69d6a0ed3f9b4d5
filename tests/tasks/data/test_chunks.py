"""Reading by chunks gives what reading at once gives, whatever the file, whatever the chunks."""

import bz2
import gzip
import lzma
import re
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.config import Run
from models.errors import InputError
from tasks.data import read_like, read_table
from tasks.data import rows as sources
from tasks.data.chunks import open_table, read_chunks
from tasks.data.formats.delimited import _parse_carefully
from tests.runs import make_frame as table_of_each_kind

ROWS = 17
RNG = np.random.default_rng(3)


def plain(rows=ROWS):
    """A table whose text form holds all that is awkward: quoted ends of lines, separators, marks, blanks, accents."""
    return pd.DataFrame(
        {
            "number": [f"{v:.2f}" for v in RNG.normal(1000, 500, rows)],
            "colour": RNG.choice(["red", "grün", 'so "so"', "a, b;c", "two\nlines", " blank "], rows),
            "zip": [f"{v:05d}" for v in RNG.integers(0, 99, rows)],
            "day": [f"{d}.{m:02d}.2024" for d, m in RNG.integers((13, 1), (28, 12), (rows, 2))],
            "flag": RNG.choice(["yes", "no", ""], rows),
            "y": RNG.choice(["a", "b"], rows),
        }
    )


@pytest.fixture(scope="module")
def reading(tmp_path_factory):
    path = tmp_path_factory.mktemp("first") / "first.csv"
    plain(300).to_csv(path, index=False)
    types = {"zip": "category", "colour": "category", "day": "date", "flag": "boolean", "number": "number"}
    return read_table(Run(data=str(path), target="y", types=types)).reading


def csv_of(frame, **how):
    return frame.to_csv(index=False, **how).encode("utf-8")


def with_line(text, place, line):
    lines = text.split(b"\n")
    return b"\n".join([*lines[:place], line, *lines[place:]])


SIMPLE = plain().assign(colour=RNG.choice(["red", "grün"], ROWS))
COMMAS = plain().assign(number=lambda t: t["number"].str.replace(".", ","))
FILES = {
    "as it is": csv_of(plain()),
    "no quote": csv_of(SIMPLE),
    "semicolons": csv_of(plain(), sep=";"),
    "tabs": csv_of(SIMPLE, sep="\t"),
    "decimal commas": csv_of(COMMAS, sep=";"),
    "decimal commas in quotes": csv_of(COMMAS),
    "commas that come late": csv_of(COMMAS.assign(number=["7"] * 6 + ["1.234"] * 3 + ["2,5"] * 8), sep=";"),
    "one comma among points": csv_of(SIMPLE.assign(colour=["1,5", *SIMPLE["colour"][1:]])),
    "thousands": csv_of(SIMPLE.assign(number=[f"{v:,.1f}" for v in RNG.normal(10_000, 900, ROWS)])),
    "cp1252": SIMPLE.to_csv(index=False).encode("cp1252"),
    "latin-1": SIMPLE.to_csv(index=False).encode("cp1252").replace(b"gr\xfcn", b"gr\x81n"),
    "mostly utf-8": csv_of(SIMPLE).replace("grün".encode(), b"gr\xfcn", 1),
    "cyrillic": SIMPLE.assign(colour="красный цвет").to_csv(index=False).encode("cp1251"),
    "utf-16": SIMPLE.to_csv(index=False).encode("utf-16"),
    "utf-16 without a mark": SIMPLE.to_csv(index=False).encode("utf-16-le"),
    "utf-8 with a mark": csv_of(plain()).join([b"\xef\xbb\xbf", b""]),
    "windows": csv_of(plain(), lineterminator="\r\n"),
    "old mac": csv_of(SIMPLE, lineterminator="\r"),
    "no last end": csv_of(plain()).rstrip(b"\n"),
    "blank lines": csv_of(SIMPLE).replace(b"\n", b"\n\n"),
    "lines end in a separator": csv_of(SIMPLE).replace(b"\n", b",\n").replace(b",\n", b"\n", 1),
    "sep=": b"sep=;\n" + csv_of(plain(), sep=";"),
    "a title": b"Report of today\n\n" + csv_of(plain()),
    "a comment": b"# made by hand\n" + csv_of(SIMPLE),
    "the header again": with_line(csv_of(SIMPLE), 9, csv_of(SIMPLE).split(b"\n")[0]),
    "the header again at the end": csv_of(SIMPLE) + csv_of(SIMPLE).split(b"\n")[0] + b"\n",
    "totals": csv_of(SIMPLE) + b"12,Total,,,,\n",
    "totals that come often": csv_of(SIMPLE.assign(colour=["Total", *SIMPLE["colour"][1:]])) + b"12,Total,,,,\n",
    "backslashes": csv_of(SIMPLE).replace("grün".encode(), b'"a \\"b\\" c"'),
    "blanks before quotes": csv_of(SIMPLE).replace(b"red", b' "red, dark"'),
    "marks": csv_of(SIMPLE.assign(number=RNG.choice(["1", "NA", "-", "?", "n/a"], ROWS))),
    "names with blanks": csv_of(SIMPLE).replace(b"number", b" number "),
    "a name twice": csv_of(SIMPLE.assign(more=1).rename(columns={"more": "y"})),
    "another order": csv_of(plain().iloc[:, ::-1].assign(extra="x")),
    "no rows": csv_of(plain().iloc[:0]),
    "one row": csv_of(plain().iloc[:1]),
    "an empty column": csv_of(SIMPLE.assign(number="")),
}
PACKED = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: pa.compress(data, "zstd", asbytes=True),
}


def together(reading, path, rows, keep=()):
    found = list(read_chunks(reading, open_table(path), rows, keep))
    assert all(len(c.features) <= rows for c in found)
    kept = pa.concat_tables([c.kept for c in found])
    return pd.concat([c.features for c in found], ignore_index=True), kept


def same(reading, path, *sizes):
    """Chunks of each size join to what reading at once gives, be it an error."""
    try:
        expected = read_like(reading, path)
    except InputError as error:
        for rows in sizes:
            with pytest.raises(InputError, match=re.escape(str(error).split(" (")[0])):
                together(reading, path, rows)
        return
    for rows in sizes:
        got, _ = together(reading, path, rows)
        pd.testing.assert_frame_equal(got, expected, check_exact=True)


@pytest.fixture(params=[None, 97], ids=["whole pieces", "small pieces"])
def piece(request, monkeypatch):
    """Files of a few hundred bytes have to be read in pieces too."""
    if request.param:
        monkeypatch.setattr("tasks.data.formats.stream.PIECE", request.param)
    return request.param


@pytest.mark.parametrize("name", FILES)
def test_text(reading, tmp_path, piece, name):
    path = tmp_path / "new.csv"
    path.write_bytes(FILES[name])
    same(reading, str(path), 5 if piece else ROWS - 1)


@pytest.mark.parametrize("name", ["as it is", "commas that come late", "the header again at the end", "totals"])
def test_text_row_by_row_and_at_once(reading, tmp_path, name):
    path = tmp_path / "new.csv"
    path.write_bytes(FILES[name])
    same(reading, str(path), 1, 1000)


@pytest.mark.parametrize("form", PACKED)
def test_compressed_text(reading, tmp_path, piece, form):
    path = tmp_path / f"new.csv.{form}"
    path.write_bytes(PACKED[form](FILES["as it is"]))
    same(reading, str(path), 5)


def test_a_zip_and_a_compressed_parquet_file(reading, tmp_path):
    with zipfile.ZipFile(tmp_path / "new.zip", "w") as archive:
        archive.writestr("new.csv", FILES["semicolons"])
    same(reading, str(tmp_path / "new.zip"), 5)
    plain().to_parquet(tmp_path / "new.parquet")
    packed = tmp_path / "new.parquet.gz"
    packed.write_bytes(gzip.compress((tmp_path / "new.parquet").read_bytes()))
    same(reading, str(packed), 5)


@pytest.mark.parametrize("seed", range(12))
def test_text_made_at_random(reading, tmp_path, seed, monkeypatch):
    """Any mixture of signs that a csv writer gets out, and any place where a piece ends."""
    rng = np.random.default_rng(seed)
    words = ["", " ", '"', "a,b", "x;y", "\n", "\r\n", "é", "日本", "NA", "1,5", "'", "\\", "|", "\t", "Total", "end"]
    frame = plain(40).assign(colour=["".join(rng.choice(words, rng.integers(0, 5))) for _ in range(40)])
    path = tmp_path / "new.csv"
    frame.to_csv(path, index=False, sep=str(rng.choice([",", ";", "\t", "|"])), quoting=int(rng.integers(0, 2)))
    monkeypatch.setattr("tasks.data.formats.stream.PIECE", int(rng.integers(7, 300)))
    same(reading, str(path), int(rng.integers(1, 5)), int(rng.integers(5, 41)))


def typed():
    """Types that parquet and frames have beside text; numbers that are names, with gaps."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "number": pd.array(rng.integers(0, 9, ROWS), dtype="Int64"),
            "colour": pd.Categorical(rng.choice(["red", "blue"], ROWS)),
            "zip": rng.integers(10_000, 99_999, ROWS).astype(float),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 900, ROWS), unit="h"),
            "flag": rng.choice([True, False], ROWS),
        }
    )
    frame.loc[[0, 1, 2, 15], "zip"] = np.nan
    frame.loc[[5], ["number", "day"]] = None
    return frame


FRAMES = {
    "typed": typed(),
    "halves": typed().assign(zip=lambda t: t["zip"].where(t.index < 14, t["zip"] + 0.5)),
    "levels of floats": typed().assign(zip=lambda t: pd.Categorical(t["zip"])),
    "nothing but gaps": typed().assign(zip=np.nan, number=pd.array([pd.NA] * ROWS, dtype="Int64")),
    "objects": typed().assign(colour=pd.Series([1, "red", None, 2.0, b"x"] * 3 + [None] * 2, dtype=object)),
    "booleans with gaps": typed().assign(flag=pd.array([True, None, False] * 5 + [None, True], dtype="boolean")),
    "dates as numbers": typed().assign(day=[20240101.0, np.nan, 20240203.0] * 5 + [20240131.0] * 2),
    "words for numbers": typed().assign(number=[str(v) for v in range(ROWS)]),
    "no rows": typed().iloc[:0],
    "arrow": typed().convert_dtypes(dtype_backend="pyarrow"),
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames_and_parquet(reading, tmp_path, name):
    frame = FRAMES[name]
    same(reading, frame, 1, 7, 1000)
    if name != "objects":
        path = tmp_path / "new.parquet"
        frame.to_parquet(path, row_group_size=6)
        same(reading, str(path), 5, 1000)


def test_parquet_with_names_that_arrow_takes_for_paths(tmp_path):
    first = pd.DataFrame({"a.b": RNG.normal(size=60), "a": RNG.normal(size=60), "y": RNG.normal(size=60)})
    reading = read_table(Run(data=first, target="y")).reading
    first.to_parquet(tmp_path / "new.parquet")
    same(reading, str(tmp_path / "new.parquet"), 7)


def test_a_table_of_each_kind(tmp_path):
    frame = table_of_each_kind(200)
    frame.to_csv(tmp_path / "first.csv", index=False)
    reading = read_table(Run(data=str(tmp_path / "first.csv"), target="target")).reading
    same(reading, str(tmp_path / "first.csv"), 33)


def test_what_is_kept_is_repeated_as_it_came(reading, tmp_path):
    path = tmp_path / "new.csv"
    path.write_bytes(FILES["as it is"])
    _, kept = together(reading, str(path), 4, ("zip", "y"))
    expected = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert kept.to_pydict() == {"zip": list(expected["zip"]), "y": list(expected["y"])}
    _, kept = together(reading, typed(), 4, ("number", "colour", "day"))
    assert kept["number"].to_pylist() == [None if v is pd.NA else v for v in typed()["number"]]
    assert kept["colour"].to_pylist() == list(typed()["colour"])
    with pytest.raises(InputError, match=r"No column 'zap' to keep in .*Did you mean 'zip'|No column 'zap' to keep"):
        together(reading, str(path), 4, ("zap",))


def test_a_value_that_does_not_fit_is_told_with_its_row(reading, tmp_path):
    bad = SIMPLE.assign(number=[*SIMPLE["number"][:-2], "dear", "very dear"])
    bad.to_csv(tmp_path / "new.csv", index=False)
    said = r"new.csv, column 'number', data row 16: 'dear' is no number.*was a number in training: correct it"
    for rows in (1, 5, 100):
        with pytest.raises(InputError, match=said):
            together(reading, str(tmp_path / "new.csv"), rows)


def test_a_missing_column_is_told_before_the_first_row(reading):
    with pytest.raises(InputError, match=r"lacks the column 'number' \(number\).*Did you mean Number"):
        next(read_chunks(reading, open_table(SIMPLE.rename(columns={"number": "Number"})), 5))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "0 bytes"),
        (b" \n \n", "holds no text"),
        (b"a,b\n1,2\n1,2,3\n", "line 3: 3 fields, but the header has 2"),
        (b'a,b\n1,2\n1,"2\n', "line 3: a quote"),
        (b"a,b\n1,2\n\0,2\n", "line 3: a NUL byte"),
        (b"\x1f\x8b\x08\x00broken", "broken or cut-off gzip"),
        (b"PAR1broken", "not a whole parquet file"),
        (b"<html><body>no</body></html>", "html, not csv"),
        ("a,b\nä,1\n".encode("utf-16") + b"\x00\xd8\x0a\x00", "begins as utf-16 but line 3"),
    ],
)
def test_what_is_no_table_is_told_as_reading_at_once_tells_it(reading, tmp_path, data, said):
    path = tmp_path / "new.csv"
    path.write_bytes(data)
    for attempt in (lambda: read_like(reading, str(path)), lambda: list(open_table(str(path)).frames(5, ["a"]))):
        with pytest.raises(InputError, match=said):
            attempt()


def test_memory_does_not_grow_with_rows(tmp_path):
    """Of a file of many pieces only a few are held: Arrow's own count of what it has handed out."""
    table = pa.table({"a": np.arange(60_000), "b": RNG.normal(size=60_000), "y": RNG.normal(size=60_000)})
    pq.write_table(table, tmp_path / "new.parquet", row_group_size=60_000)
    table.to_pandas().to_csv(tmp_path / "new.csv", index=False)
    for name in ("new.parquet", "new.csv"):
        source = open_table(str(tmp_path / name))
        held = [len(f) for f in source.frames(1_000, ["a", "b"])]
        assert (max(held), sum(held)) == (1_000, 60_000)
    assert sources.SURVEY <= 100_000


def test_the_first_batch_alone_tells_that_lines_end_in_a_separator(tmp_path):
    records = [(2, ["1", "2", ""]), (3, ["1", "2", ""])]
    assert [len(b) for b in _parse_carefully(iter(records), 2, 0, tmp_path)] == [3]
    with pytest.raises(InputError, match="3 fields, but the header has 2"):
        list(_parse_carefully(iter(records), 2, 0, tmp_path, first=False))
