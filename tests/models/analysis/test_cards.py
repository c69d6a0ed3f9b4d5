"""What families and strategies say of themselves."""

import pytest

from models.analysis.cards import describe_strategy
from models.search import load_strategies


@pytest.mark.parametrize("known", load_strategies().values(), ids=lambda s: s.name)
def test_a_strategy_says_in_one_sentence_what_it_does(known):
    said = describe_strategy(known)
    assert said.endswith(".")
    assert 8 <= len(said.split()) <= 40
    assert len(said) <= 200  # a table shows no more of a cell
    assert said.rstrip(".") != known.suits


def test_a_name_that_ends_with_a_stop_ends_no_sentence(monkeypatch):
    known = load_strategies()["tpe"]
    text = "Estimators, as in\nBergstra et al. 2011: learns. Then more.\n\nAnd more."
    monkeypatch.setattr("models.search.tpe.__doc__", text)
    assert describe_strategy(known) == "Estimators, as in Bergstra et al. 2011: learns."
