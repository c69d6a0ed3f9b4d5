"""How the code is built, measured over its syntax tree: `python -m benchmarks.structure [FOLDER]`.

Names of functions (verbs, participles, one word), lengths, parameters, and entries per room."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.stamp import print_table

PACKAGES = ("flows", "tasks", "models")
VERBS = frozenset(re.findall(r"\w+", """
    accept accumulate adapt add advance advise afford agree aim align allow allows announce answer appear append apply
    arrange as ask assemble assert assign attach average await begin bin bind book bootstrap bound bracket build
    calibrate call can cancel cast change check choose claim clean climb clip close code collect combine compare
    complete compose compress compute concatenate confirm connect construct contain continue convert copy correct
    count cover crash create cross cut deal decide decode decompress define delete deliver deploy describe detect
    differentiate digest discard dispatch divide do double download drain draw drop dump edit emit empty encode end
    enforce ensure enter enumerate escape estimate evaluate exceed exclude expect explain explore export extend
    extract fade fetch fill filter find finish fit fix flag flatten flush fold follow forecast forget format from
    gather generate get give go grant grow guard guess halve handle has hash have help hide hold hold_out identify
    import include infer insert inspect install interpolate interrupt invert is jitter join judge keep keeps lack
    launch lay learn leave lengthen limit list listen lives load locate lock log look loosen lump make map mark mask
    match matches measure meet mend merge migrate mirror miss mix move multiply mutate narrow needs nest normalize
    note notice notify number obey observe obtain offer omit open pad parse pass patch pause pick pin place plan plot
    post predict prefer prepare print probe profile promote propose prune publish put quantize quiet quote raise rank
    reach read rebuild recall receive reckon record recover recreate redo reduce refer refine refit reflect refresh
    refuse register reject release reload remember remove rename render renew reopen repair repeat replace report
    request require rescale reserve reset resolve restore restrict resume retain retrain retry return reverse revive
    rewrite roll rollback round run sample save say says scale scan scatter schedule score screen seal search seed
    select send separate serve set settle share shift shorten shortlist shout show shrink shuffle sign silence
    simplify simulate skip smooth solve sort spare spell spend split spool spread stack stamp standardize start step
    stop store strip submit subtract suggest sum summarize survey suspect sync tabulate tag take tally tell test thin
    tidy tie time to trace track train transform translate travel trim trust try tune turn type unescape unfold unpack
    unwrap update upload use validate verify vote wait walk want warm warn watch weigh widen withdraw word wrap write
    yield
"""))  # fmt: skip
"""Bare verbs that begin names; of words that are nouns too, those that are read as verbs."""
PARTICIPLES = frozenset(re.findall(r"\w+", """
    begun borne bought bound broken brought built chosen done drawn driven found given gone grown held hidden kept
    known laid left lost made meant met paid put said seen sent shown spelt spent spoken sunk sworn taken taught
    thought thrown told won worn written
"""))  # fmt: skip
"""Those that do not end in `ed`."""


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parents[1])
    root = parser.parse_args().folder
    rows = [measure_package(package, list(list_functions(root / package))) for package in PACKAGES]
    rows.append(measure_package("all", [one for package in PACKAGES for one in list_functions(root / package)]))
    head = ("package", "functions", "verb", "participle", "one word", "lines: median", "90 %", "longest",
            "parameters: 90 %", "most", "take the session")  # fmt: skip
    print_table("Functions", head, rows)
    rooms = [(str(path.relative_to(root)), str(count)) for path, count in count_entries(root)]
    print_table("Entries per room", ("room", "entries"), rooms)


def list_functions(package: Path) -> Iterator[ast.FunctionDef]:
    """Every function of the package but dunder methods."""
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("__"):
                yield node


def measure_package(name: str, found: Sequence[ast.FunctionDef]) -> list[str]:
    """The package's row."""
    firsts = [one.name.strip("_").split("_")[0] for one in found]
    lengths = [count_body_lines(one) for one in found]
    counts = [len(list_parameters(one)) for one in found]
    held = sum(
        "Session" in (ast.unparse(p.annotation) if p.annotation else "") for one in found for p in list_parameters(one)
    )
    return [
        name, f"{len(found):,}", _format_share([f in VERBS for f in firsts]),
        _format_share([is_participle(f) for f in firsts]),
        _format_share(["_" not in one.name.strip("_") for one in found]), f"{np.median(lengths):.0f}",
        f"{np.quantile(lengths, 0.9):.0f}", str(max(lengths)), f"{np.quantile(counts, 0.9):.0f}", str(max(counts)),
        str(held),
    ]  # fmt: skip


def is_participle(word: str) -> bool:
    """Whether it is the past participle of a verb: `told`, `kept`, `settled`."""
    return word not in VERBS and (word in PARTICIPLES or re.fullmatch(r"\w{2,}ed", word) is not None)


def count_body_lines(function: ast.FunctionDef) -> int:
    """Lines of the function's body without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def list_parameters(function: ast.FunctionDef) -> list[ast.arg]:
    """What the function takes, itself left out."""
    taken = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return [one for one in taken if one.arg not in ("self", "cls")]


def count_entries(root: Path) -> Iterator[tuple[Path, int]]:
    """Rooms, and how many files and rooms stand in each."""
    for package in PACKAGES:
        for room in sorted([root / package, *(root / package).rglob("*")]):
            if (room / "__init__.py").exists():
                inside = [p for p in room.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()]
                yield room, sum(not p.name.startswith("__") for p in inside)


def _format_share(flags: Sequence[bool]) -> str:
    return f"{100 * float(np.mean(flags)):.0f} %"


if __name__ == "__main__":
    main()
