"""Parameters of notebooks: their types, and which notebook gets which."""

import pytest
from small_notebooks import PARAMETERS, write_notebook

from allatt.config import AllattError
from allatt.paper import scales
from allatt.reproduce import parameters
from allatt.reproduce.runner import select
from allatt.system.paths import repository


@pytest.fixture
def notebooks(tmp_path):
    """Two notebooks, the first with four additional parameters."""
    own = "lam = 0.5  # a comment\nquick = True\nname = 'x'\nlams = [1, 2]\n"
    return [write_notebook(tmp_path, "00_fine.ipynb", parameters=PARAMETERS + own), write_notebook(tmp_path, "03_alone.ipynb")]


def test_defaults_are_the_literals_of_the_parameters_cell(notebooks):
    assert parameters.defaults(notebooks[0]) == {
        "scale": "smoke", "corpus": "", "seed": 0, "lam": 0.5, "quick": True, "name": "x", "lams": [1, 2]}


def test_values_get_the_type_of_the_default(notebooks):
    values = {"lam": "2", "name": "007", "quick": "False", "lams": "[3]", "seed": "5"}
    bound = parameters.bind(notebooks, values)
    assert bound["00_fine"] == {"lam": 2.0, "name": "007", "quick": False, "lams": [3], "seed": 5}
    assert isinstance(bound["00_fine"]["lam"], float)
    assert bound["03_alone"] == {"seed": 5}, "a notebook gets only its own parameters"


@pytest.mark.parametrize("values, message", [
    ({"sede": "3"}, r"no notebook here has a parameter sede; did you mean seed\? they have corpus, lam,"),
    ({"lam": "much"}, r"lam of 00_fine is 'much'; it must be of type float, like 0.5"),
    ({"quick": "1"}, r"quick of 00_fine is '1'; it must be of type bool, like True"),
    ({"lams": "3"}, r"lams of 00_fine is '3'; it must be of type list"),
])
def test_wrong_values_are_refused(notebooks, values, message):
    with pytest.raises(AllattError, match=message):
        parameters.bind(notebooks, values)


def test_parameters_cell_must_hold_literals(tmp_path):
    path = write_notebook(tmp_path, "00_a.ipynb", parameters="seed = 1 + x")
    with pytest.raises(AllattError, match="00_a.ipynb has no parameters cell of literals"):
        parameters.defaults(path)


def test_parse_keeps_quoted_words_together():
    assert parameters.parse("lam=0.1 name='two words' a==b") == {"lam": "0.1", "name": "two words", "a": "=b"}


@pytest.mark.parametrize("params, message", [
    ("lam 0.1", r"PARAMS has 'lam'; write name=value"),
    ("lam='0.1", r"PARAMS is .*: No closing quotation"),
    ("seed=4", r"PARAMS has seed; write SEED=... instead"),
])
def test_parse_refuses(params, message):
    with pytest.raises(AllattError, match=message):
        parameters.parse(params)


def test_committed_notebooks_know_the_three_parameters():
    """Their defaults are the smoke scale and one seed, since nbval cannot inject any."""
    for path in select(repository() / "notebooks"):
        values = {"seeds": 1} | parameters.defaults(path)
        assert (values["scale"], values["corpus"], values["seed"]) == (scales.NAMES[0], "", 0), path.name
        assert values["seeds"] == 1, path.name


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" + 400 * "0", "10**400", "(" * 5000])
def test_a_number_that_is_not_finite_or_no_number_is_one_clear_line(notebooks, number):
    """Before anything runs, and not after half a minute in a cell."""
    with pytest.raises(AllattError, match="lam of 00_fine is .*; it must be (a finite number|of type float)"):
        parameters.bind(notebooks, {"lam": number})
    with pytest.raises(AllattError, match="lams of 00_fine is .*; it must be (a list of finite numbers|of type list)"):
        parameters.bind(notebooks, {"lams": f"[1, {number}]"})
