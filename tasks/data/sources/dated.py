"""Paths with a date in them: of the files that fit `sales-%Y-%m-%d.csv` the newest, up to today."""

from __future__ import annotations

import difflib
import glob
import re
from datetime import date, datetime
from pathlib import Path

from models.data.table import Finding
from models.errors import InputError, join_names

# strftime's fields that a path may hold, as what they look like in a name.
FIELDS = {
    "Y": r"\d{4}", "y": r"\d{2}", "G": r"\d{4}", "V": r"\d{2}", "m": r"\d{2}", "d": r"\d{2}", "j": r"\d{3}",
    "H": r"\d{2}", "M": r"\d{2}", "S": r"\d{2}",
}  # fmt: skip
PARTS = re.compile(r"%(.)", re.S)


def has_date_field(path: str | Path) -> bool:
    """Whether the path holds a field of a date and is no file as it stands."""
    return any(m[1] in FIELDS for m in PARTS.finditer(str(path))) and not Path(path).expanduser().exists()


def resolve_path(path: str | Path, today: date) -> tuple[Path, Finding | None]:
    """The newest file that fits the path's pattern and is not of after today, and what is to be said; a path without
    a pattern as it is. InputError where no file fits."""
    if not has_date_field(path):
        return Path(path), None
    pattern = str(Path(path).expanduser())
    files = sorted(_find_fitting_files(pattern))
    past = [(time, file) for time, file in files if time.date() <= today]
    if not past:
        raise InputError(_explain_no_file(Path(pattern), [file for _, file in files], today))
    newest = past[-1][1]
    sentence = f"{newest} is the newest of {len(past)} file{'s'[: len(past) > 1]} that fit {path}."
    return newest, Finding("newest_file", "pass", sentence)


def remove_date(name: str) -> str:
    """The name without its date and the signs around it: `sales` for `sales-%Y-%m-%d`."""
    field = rf"%[{''.join(FIELDS)}]"
    return re.sub(rf"[-_. ]*{field}(?:[-_.:T ]*{field})*", "", name)


def _find_fitting_files(pattern: str) -> list[tuple[datetime, Path]]:
    """(its time, file) for each file that fits."""
    fields = list(dict.fromkeys(m[1] for m in PARTS.finditer(pattern) if m[1] in FIELDS))
    if not {"Y", "y", "G"} & set(fields):
        raise InputError(f"{pattern} holds no year (%Y), so it can't be told which file is the newest.")
    expression, stars = _make_expression(pattern)
    matches = [(re.fullmatch(expression, file), Path(file)) for file in glob.glob(stars)]
    times = [(_parse_time(fields, match), file) for match, file in matches if match and file.is_file()]
    return [(time, file) for time, file in times if time is not None]


def _make_expression(pattern: str) -> tuple[str, str]:
    """The pattern as a regular expression, in which a field that comes again is the same, and as a glob."""
    expression, stars, names = "", "", set[str]()
    for part in re.split(r"(%.)", pattern, flags=re.S):
        name = part[1:] if part.startswith("%") else ""
        if name in FIELDS:
            expression += f"(?P={name})" if name in names else f"(?P<{name}>{FIELDS[name]})"
            stars += "*"
            names.add(name)
        else:
            literal = "%" if part == "%%" else part
            expression += re.escape(literal)
            stars += glob.escape(literal)
    return expression, stars


def _parse_time(fields: list[str], match: re.Match[str]) -> datetime | None:
    """The time in a file's name; None where there is no such day."""
    names, values = [*fields], [match[f] for f in fields]
    if "V" in names:  # a week begins on its Monday
        names, values = [*names, "u"], [*values, "1"]
    try:
        return datetime.strptime(" ".join(values), " ".join(f"%{n}" for n in names))
    except ValueError:
        return None


def _explain_no_file(pattern: Path, later: list[Path], today: date) -> str:
    """What there is instead of a file that fits."""
    if later:
        return f"No file that fits {pattern} is of {today} or before: the first is {later[0]}."
    folder = next(p for p in pattern.parents if not has_date_field(p))
    if not folder.is_dir():
        return f"No file fits {pattern}: there is no folder {folder}."
    name = today.strftime(pattern.relative_to(folder).parts[0])
    names = sorted(p.name for p in folder.iterdir())
    near = difflib.get_close_matches(name, names, 3, 0.5) or names
    contents = f" The folder {folder} holds {join_names(near)}." if near else f" The folder {folder} is empty."
    return f"No file fits {pattern}, which today would be {today.strftime(str(pattern))}.{contents}"
