"""Yaml files: words as they are written, each key once, and no file that takes longer than it is long."""

from __future__ import annotations

import pickle
from itertools import pairwise

import pytest
import yaml

from models.config import Retrain, Run
from models.config.places import unfold_groups
from models.config.written import DEEPEST, LARGEST, MOST, apply_yaml_types, parse_yaml

WORDS = ["yes", "no", "on", "off", "True", "2024", "010", "1.50", "1_000", "0x1F", "1:30", "2024-01-31", ".5", "1e+3"]


def run_of(text: str) -> Run:
    """The run that a config file makes."""
    return Run.model_validate(unfold_groups(parse_yaml(text.encode()), Run))


def bombs() -> dict[str, str]:
    """Names and texts of files that grow, wind or last."""

    def grown(first: str, one: str) -> str:
        beneath = [one.format(b, ",".join([f"*{a}"] * 9)) for a, b in pairwise("abcdefghi")]
        return "\n".join([first.format("a"), *beneath])

    return {
        "lists of lists": grown("{0}: &{0} [x]", "{0}: &{0} [{1}]"),
        "merged mappings": grown("{0}: &{0} {{k: 1}}", "{0}: &{0} {{<<: [{1}]}}"),
        "mappings": grown("{0}: &{0} {{k: 1}}", "{0}: &{0} {{k: [{1}]}}"),
        "itself": "a: &a [*a]",
        "itself as a mapping": "&a {b: *a}",
        "brackets": "[" * 50_000,
        "braces": "{a: " * 20_000,
        "dashes": "- " * 50_000,
        "marks": "? " * 50_000,
        "many": "[" + "a," * (LARGEST + 1) + "]",
        "long": "a: " + "x" * MOST,
        "time": "a: " + ":".join(["1"] * 50_000),
        "digits": "a: " + "9" * 100_000,
        "code": "a: !!python/object/apply:os.abort []",
        "nul": "a: \0",
        "no text": "\udc80",
    }


@pytest.mark.parametrize("word", WORDS)
def test_a_word_means_what_is_written(word):
    text = f"target: {word}\npositive: {word}\norder: {{{word}: [{word}, b]}}\ncosts: {{{word}: {{b: 2}}}}\n"
    text += f"drop: [{word}]\nsplit: {{group: {word}}}\nclass_weight: {{{word}: 2}}\ntypes: {{{word}: text}}\n"
    run = run_of(f"data: t.csv\nbound: {{since: {word}}}\n{text}")
    assert (run.target, run.positive, run.split.group, run.drop) == (word, word, word, (word,))
    assert run.order == {word: (word, "b")}
    assert run.bound == {"since": word}
    assert [list(found) for found in (run.costs, run.class_weight, run.types)] == [[word]] * 3
    assert all(type(kept) is str for kept in (run.target, *run.drop, *run.order[word], *run.order))


def test_numbers_and_truths_are_read_where_they_are_wanted():
    run = run_of("data: t.csv\nsearch: {trials: 3}\nsplit: {sealed: .25, outer: 3}\nseed: 7\ngrid: 64\nname: null")
    assert (run.search.trials, run.split.sealed, run.seed, run.grid, run.name) == (3, 0.25, 7, "64", None)
    values = unfold_groups(parse_yaml(b"name: a\nwarm: no\nforce: on\ngate: {level: 0.9}\nbudget: 90"), Retrain)
    retrain = Retrain.model_validate(values)
    assert (retrain.warm, retrain.force, retrain.gate.level, retrain.budget) == (False, True, 0.9, 90)


@pytest.mark.parametrize("where", ["", "changes: "])
def test_what_families_are_told_has_types(where):
    said = b"families: {linear: {space: {a: [0.01, 1, log], b: [yes, x]}, configurations: [{a: 2}]}}"
    values = unfold_groups(
        parse_yaml(where.encode() + (b"{" + said + b"}" if where else said)), Retrain if where else Run
    )
    changes = Retrain(name="a", **values).changes if where else values
    found = Run(data="t.csv", **changes).families["linear"]
    assert found.space == {"a": (0.01, 1, "log"), "b": (True, "x")}
    assert found.configurations == ({"a": 2},)


def test_typed_is_what_yaml_makes_of_it():
    text = "a: [yes, 010, 1.5, 2024-01-31, x, '7', null]\nb: {c: 1_000}"
    assert apply_yaml_types(parse_yaml(text.encode())) == yaml.safe_load(text)
    assert pickle.loads(pickle.dumps(parse_yaml(b"yes"))).value is True


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("target: a\ndata: b\ntarget: c", 3),
        ("split: {outer: 3,\n outer: 4}", 2),
        ("a: 1\n? a\n: 2", 2),
        ("families:\n  linear: {}\n  linear: {}", 3),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_its_line(text, line):
    with pytest.raises(ValueError, match=rf"line {line}: .* given twice"):
        parse_yaml(text.encode())


MERGED = "base: &b {x: 1, z: 0}\nmid: &m {<<: *b, x: 2}\n"


@pytest.mark.parametrize("merge", ["<<: *m", "<<: [*m, *b]", "<<: [*b, *m]"])
def test_a_merged_mapping_may_be_merged_again(merge):
    text = f"{MERGED}top: {{{merge}, y: 1}}\nlow: {{<<: *m, x: 3}}"
    assert apply_yaml_types(parse_yaml(text.encode())) == yaml.safe_load(text)


def test_a_key_twice_beside_a_merge_is_refused():
    with pytest.raises(ValueError, match="line 3: x is given twice"):
        parse_yaml((MERGED + "top: {<<: *m, x: 1, x: 2}").encode())


@pytest.mark.parametrize("text", bombs().values(), ids=bombs().keys())
def test_a_file_that_would_last_for_ever_ends_with_a_sentence(text):
    data, told = text.encode(errors="surrogateescape"), ""
    try:
        found = parse_yaml(data)
    except ValueError as error:
        found, told = None, str(error)
    assert len(repr(found)) + len(told) < 2 * len(data) + 300


def test_what_people_write_is_within_the_bounds():
    levels = [f"level {k}" for k in range(5000)]
    nested = "x"
    for _ in range(DEEPEST - 1):
        nested = f"[{nested}]"
    parse_yaml(nested.encode())
    assert parse_yaml(f"order: {{size: [{', '.join(levels)}]}}".encode())["order"]["size"] == levels
    shared = parse_yaml(b"a: &s {k: 1}\nb: *s\nc: {<<: *s, k: 2, l: 3}")
    assert shared == {"a": {"k": "1"}, "b": {"k": "1"}, "c": {"k": "2", "l": "3"}}
