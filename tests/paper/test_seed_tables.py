"""The models seed by seed: every loss of claims.json in its cell, and what is computed from them, by hand."""

import re
from dataclasses import replace

import pytest
from made_up import NOISE, measurements

from allatt.config import ALL_ATTENTION, TRANSFORMER_XL
from allatt.paper.seed_tables import markdown


def tables(measured) -> dict[str, dict[str, list[str]]]:
    """Rows of cells by title and first cell; records in links are cut out."""
    found = {}
    for part in markdown(measured).split("### ")[1:]:
        title, _, *lines = part.strip().splitlines()
        assert len({line.count("|") for line in lines}) == 1 and lines[1].strip("|-") == "", title
        plain = [re.sub(r"\[([\d.]+)\]\(runs/[^)]*\.json\)", r"\1", line) for line in lines]
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in plain]
        found[title] = {row[0]: row[1:] for row in rows if set(row[0]) != {"-"}}
    return found


def test_titles_and_columns():
    shown = tables(measurements(seeds=2))
    kinds = "All-attention", "Transformer-XL"
    sweeps = [f"{kind}, {tokens}" for tokens in ("subwords", "characters", "words") for kind in kinds]
    gains = [f"Gains at equal parameters{tokens}" for tokens in ("", ", characters", ", words")]
    assert set(shown) == {*sweeps, *gains, "Baselines", "Training methods", "Controls"}
    for title in sweeps:
        assert shown[title]["λ"] == ["seed 0", "seed 1"]
    assert shown["Training methods"]["All-attention at λ 0.2, trained"] == ["seed 0", "seed 1"]
    assert shown["Baselines"][""] == ["All-attention", "Transformer-XL", "All-attention minus Transformer-XL"]
    assert shown["Controls"]["heads kept by"] == ["seed 0", "seed 1", "minus learned gates, test", "validation"]


def test_a_cell_has_heads_losses_and_a_link_to_the_record():
    measured = measurements(seeds=1)
    point = measured.seeds[0].sweeps[ALL_ATTENTION][1]
    assert point.per_layer == [4, 4, 4, 4, 0] and (point.test_loss, point.valid_loss) == (5.08, 5.08 + 0.1)
    assert f"| 0.1 | 4 4 4 4 0 = 16: [5.080](runs/{point.run}.json) (5.180) |" in markdown(measured)


def test_gains_by_hand():
    """All-attention gains 1.2 times its sparsity, and the noise of Transformer-XL's pruned models.

    At 10% that is read at 180 parameters: Transformer-XL has 16 heads there, 4 of 10 steps on the way to the noisy point.
    """
    rows = tables(measurements(seeds=3))["Gains at equal parameters"]
    assert rows["seed 0"] == ["+0.120 (+0.120)", "+0.240 (+0.240)", "+0.360 (+0.360)", "+0.420 (+0.420)", "+0.285 (+0.285)",
                              "0.0% (0.0%)"]
    assert NOISE[1] == 0.004 and rows["seed 1"][0] == f"{0.12 + 0.4 * 0.004:+.3f} ({0.12 + 0.4 * 0.004:+.3f})"
    assert rows["from its own control, seed 1"] == rows["seed 1"], "both controls have the same loss here"
    assert tables(measurements(seeds=3))["Gains at equal parameters, words"] == rows


def test_a_gain_that_a_sweep_does_not_reach_is_empty_and_so_is_the_mean():
    short = measurements(seeds=1, change=lambda results: results.sweeps[TRANSFORMER_XL].pop())  # the last of 10 heads
    rows = tables(short)["Gains at equal parameters"]
    assert rows["seed 0"] == ["+0.120 (+0.120)", "+0.240 (+0.240)", "", "", "", "0.0% (0.0%)"]
    assert rows["from its own control, seed 0"] == rows["seed 0"]


def test_the_control_is_the_first_of_a_sweep_and_not_the_best_of_it():
    def change(results):
        sweep = results.sweeps[ALL_ATTENTION]
        sweep[0] = replace(sweep[0], test_loss=5.1)  # above that of lambda 0.1

    rows = tables(measurements(seeds=1, change=change))["Gains at equal parameters"]
    assert rows["from its own control, seed 0"][1] == "+0.340 (+0.240)" and rows["seed 0"][1] == "+0.240 (+0.240)"


def test_gains_from_the_control_differ_if_the_controls_do():
    def change(results):
        sweep = results.sweeps[TRANSFORMER_XL]
        sweep[:] = [replace(point, test_loss=point.test_loss - 0.2, valid_loss=point.valid_loss - 0.3) for point in sweep]

    rows = tables(measurements(seeds=1, change=change))["Gains at equal parameters"]
    assert rows["seed 0"][-1] == f"{0.2 / 1.2:.1%} (25.0%)", "1.2 times the sparsity, less 0.2 or 0.3"
    assert rows["from its own control, seed 0"][-1] == "0.0% (0.0%)"
    assert rows["seed 0"][0] == "-0.080 (-0.180)" and rows["from its own control, seed 0"][0] == "+0.120 (+0.120)"


def test_the_gap_of_baselines_and_a_difference_of_zero():
    rows = tables(measurements(seeds=3))["Baselines"]
    assert rows["seed 0"] == ["5.000 (5.100)", "5.000 (5.100)", "+0.000 (+0.000)"]
    assert rows["seed 2"] == ["4.996 (5.096)", "5.000 (5.100)", "-0.004 (-0.004)"]
    tiny = measurements(seeds=1, change=lambda results: results.baselines.update(
        {ALL_ATTENTION: replace(results.baselines[ALL_ATTENTION], test_loss=4.9999, valid_loss=5.3)}))
    assert tables(tiny)["Baselines"]["seed 0"] == ["5.000 (5.300)", "5.000 (5.100)", "+0.000 (+0.200)"]


def test_a_lambda_that_a_seed_lacks_is_an_empty_cell():
    rows = tables(measurements(seeds=2, change=lambda results: results.seed and results.sweeps[ALL_ATTENTION].pop(1)))
    assert rows["All-attention, subwords"]["0.1"] == ["4 4 4 4 0 = 16: 5.080 (5.180)", ""]
    assert all(rows["All-attention, subwords"]["0.2"])


def test_controls_have_their_mean_over_the_seeds_that_have_them():
    def change(results):
        if results.seed == 2:
            del results.rivals["even layers"]

    rows = tables(measurements(seeds=3, change=change))["Controls"]
    assert rows["learned gates"][3:] == ["", ""]
    # 5.17 - 5.12 plus the noise 0, 0.004, -0.004: standard error 0.004 / sqrt(3), times t = 4.3027
    assert rows["random heads"][3:] == ["+0.050 [+0.040, +0.060]"] * 2
    # two seeds: 0.05 and 0.054, standard error 0.002, times t = 12.7062
    assert rows["even layers"][2] == "" and rows["even layers"][3:] == ["+0.052 [+0.027, +0.077]"] * 2


def test_rivals_of_a_seed_without_gates_have_losses_and_nothing_to_compare_with():
    def change(results):
        if results.seed == 0:
            del results.rivals["learned gates"]
        else:
            del results.rivals["even layers"]

    rows = tables(measurements(seeds=2, change=change))["Controls"]
    assert rows["learned gates"] == ["", "4 4 4 2 0 = 14: 5.120 (5.220)", "", ""]
    assert rows["even layers"] == ["4 4 4 2 0 = 14: 5.170 (5.270)", "", "", ""]
    assert rows["random heads"][2:] == ["+0.054 (one seed)"] * 2


def test_words_of_some_seeds_are_shown_and_the_others_are_empty():
    measured = measurements(seeds=2)
    measured = replace(measured, seeds=[measured.seeds[0], replace(measured.seeds[1], words=None)])
    shown = tables(measured)
    assert shown["All-attention, words"]["0.1"] == ["4 4 4 4 0 = 16: 5.080 (5.180)", ""]
    rows = shown["Gains at equal parameters, words"]
    assert rows["seed 0"][0] == "+0.120 (+0.120)" and rows["seed 1"] == rows["from its own control, seed 1"] == [""] * 6


@pytest.mark.parametrize("lacking", ["rivals", "methods", "words"])
def test_what_was_not_run_has_no_table(lacking):
    measured = measurements(seeds=2)
    none = {lacking: None if lacking == "words" else {}}
    measured = replace(measured, seeds=[replace(results, **none) for results in measured.seeds])
    titles = {"rivals": "Controls", "methods": "Training methods", "words": "All-attention, words"}
    shown = tables(measured)
    assert titles[lacking] not in shown and {titles[name] for name in titles if name != lacking} <= set(shown)


def test_seeds_have_the_numbers_that_they_have():
    measured = measurements(seeds=1)
    measured = replace(measured, seeds=[replace(measured.seeds[0], seed=7)])
    shown = tables(measured)
    assert "seed 7" in shown["Baselines"] and "seed 7" in shown["Gains at equal parameters"]
    assert shown["All-attention, subwords"]["λ"] == ["seed 7"]
