"""Other rates of pruning: which runs, which rate is read where, and the gains by hand."""

from dataclasses import replace

import pytest
from made_up import ours, theirs

from allatt.config import KINDS, AllattError
from allatt.paper import pruning_rates
from allatt.paper.pruning_rates import best_at_size, best_control, gain_at, report, sweeps
from allatt.paper.study import Study
from allatt.runs.records import restore
from allatt.system.paths import repository


def test_the_sweeps_differ_in_the_rate_of_both_phases_and_in_nothing_else():
    study = Study("laptop")
    by_rate, own = sweeps(study, 3), study.sweeps(3)
    assert list(by_rate) == [1e-4, 2e-4, 4e-4, 8e-4]
    assert [config.id for config in by_rate[4e-4]] == [config.id for config in own]
    for rate, configs in by_rate.items():
        for config, same in zip(configs, own, strict=True):
            assert (config.train.lr, config.start.train.lr) == (rate, rate) and f"rate {rate:g}" in config.name
            assert config.start.start == same.start.start, "the baseline is the same"
            gated = replace(config.start, name=same.start.name, train=replace(config.start.train, lr=4e-4))
            assert replace(config, name=same.name, train=replace(config.train, lr=4e-4), start=gated) == same


def test_with_one_phase_the_baseline_keeps_its_rate():
    config = sweeps(Study("laptop", one_phase=True))[1e-4][1]
    assert config.train.lr == 1e-4 and config.start.train.lr == 2e-3


def shifted(points, *by):
    """Test losses as they are, validation losses that differ by this, point by point."""
    return [replace(point, valid_loss=point.valid_loss + some) for point, some in zip(points, by, strict=True)]


def curves(kind, *losses, lams=(0.0, 0.1, 0.2), kept=(20, 12, 4)):
    """A sweep per seed: losses of the control and of two pruned models."""
    return [[kind(heads, loss, lam, seed=seed) for heads, loss, lam in zip(kept, some, lams, strict=True)]
            for seed, some in enumerate(losses)]


A = {0.1: curves(ours, (5.0, 5.2, 5.9), (5.1, 5.3, 6.0)), 0.4: curves(ours, (5.3, 5.25, 5.5), (5.3, 5.35, 5.6))}
"""All-attention: the low rate is better until 12 of 20 heads, the high one below."""
B = {0.1: curves(theirs, (4.9, 5.1, 5.8), (4.9, 5.2, 5.9), kept=(20, 10, 0)),
     0.4: curves(theirs, (5.0, 5.2, 5.4), (5.0, 5.3, 5.5), kept=(20, 10, 0))}


def test_each_size_and_the_control_have_their_own_best_rate():
    assert best_control(A).rate == 0.1 and best_control(A).losses["test_loss"] == [5.0, 5.1]
    assert best_at_size(A, 120).rate == 0.1 and best_at_size(A, 120).losses["test_loss"] == [5.2, 5.3]
    assert best_at_size(A, 40).rate == 0.4 and best_at_size(A, 40).losses["test_loss"] == [5.5, 5.6]
    halfway = best_at_size(A, 80)  # 8 heads: 5.55 and 5.65 at the low rate, 5.375 and 5.475 at the high one
    assert halfway.rate == 0.4 and halfway.losses["test_loss"] == pytest.approx([5.375, 5.475])


def test_validation_chooses_and_test_reports():
    """The rate that is best on test text is not taken if it is worse on validation text, in the mean of the seeds."""
    other = {0.1: [shifted(points, 0, 0.2, 0) for points in A[0.1]], 0.4: A[0.4]}
    assert best_at_size(other, 120).rate == 0.4 and best_at_size(other, 120).losses["test_loss"] == [5.25, 5.35]
    one_seed = {0.1: [shifted(A[0.1][0], 0, 0.2, 0), shifted(A[0.1][1], 0, -0.2, 0)], 0.4: A[0.4]}
    assert best_at_size(one_seed, 120).rate == 0.1, "one rate for all seeds"


def test_a_rate_that_does_not_reach_a_size_in_every_seed_is_not_read_there():
    short = {0.1: A[0.1], 0.4: [A[0.4][0], A[0.4][1][:2]]}
    assert best_at_size(short, 40).rate == 0.1
    with pytest.raises(AllattError, match="at no rate do the sweeps of All-attention"):
        best_at_size(A, 30)
    with pytest.raises(AllattError, match="at no rate do the sweeps of Transformer-XL"):
        best_at_size(B, 90)
    with pytest.raises(AllattError, match="90% of the heads"):
        gain_at(A, B, 0.9)


def test_a_rate_that_is_short_hides_no_size_that_another_reaches():
    short = {0.1: [points[:2] for points in A[0.1]], 0.4: A[0.4]}
    small = replace(theirs(0, 6.0, 0.3), body_parameters=30)
    gain = gain_at(short, {0.4: [[*points, small] for points in B[0.4]]}, 0.8)
    assert gain.rates == (0.4, 0.4), "40 parameters; the low rate ends at 120"


def test_gains_by_hand():
    """At 40% All-attention has 12 heads and 120 parameters: 5.2, 5.3 at the low rate. Transformer-XL has 4 heads there: two
    fifths of the way from 0 heads to 10, so 5.52, 5.62 at the low rate and 5.32, 5.42 at the high one."""
    gain = gain_at(A, B, 0.4)
    assert gain.rates == (0.1, 0.4) and gain.absolute["test_loss"] == pytest.approx([0.12, 0.12])
    # controls: 5.0, 5.1 and 4.9, 4.9, all at the low rate
    assert gain.own["test_loss"] == pytest.approx([0.22, 0.32])
    assert gain.own["valid_loss"] == pytest.approx(gain.own["test_loss"]), "validation costs 0.1 more everywhere"


def test_the_report_has_a_row_per_size_their_mean_and_each_rate_alone(monkeypatch):
    monkeypatch.setattr(pruning_rates, "SPARSITIES", (0.4, 0.8))
    b = {rate: [[*points, theirs(0, points[-1].test_loss, 0.3)] for points in seeds] for rate, seeds in B.items()}
    b = {rate: [[replace(point, body_parameters=point.body_parameters - 60) for point in points] for points in seeds]
         for rate, seeds in b.items()}  # so that 40 parameters are reached
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in report(A, b).splitlines()]
    assert [row[:3] for row in rows] == [["40%", "0.1", "0.1"], ["80%", "0.4", "0.4"],
                                         ["mean", "best (control 0.1)", "best (control 0.1)"],
                                         ["mean", "0.1", "0.1"], ["mean", "0.4", "0.4"]]
    assert header[3:] == [
        "gain, test", "gain, validation", "from own control, test", "from own control, validation"]
    means = [[float(cell.split()[0]) for cell in row[3:]] for row in rows]
    for column in range(4):
        assert means[2][column] == pytest.approx((means[0][column] + means[1][column]) / 2, abs=0.0011)
    # 120 parameters: 8 of 20 heads' worth of steps above 40; by hand at the high rate alone: 5.25, 5.35 against the line
    high = [gain_at({0.4: A[0.4]}, {0.4: b[0.4]}, sparsity).absolute["test_loss"] for sparsity in (0.4, 0.8)]
    assert means[4][0] == pytest.approx(sum(map(sum, high)) / 4, abs=0.0006)


def test_a_rate_alone_that_does_not_reach_a_size_leaves_its_row_empty(monkeypatch):
    monkeypatch.setattr(pruning_rates, "SPARSITIES", (0.4,))
    short = {0.1: A[0.1], 0.4: [points[:1] for points in A[0.4]]}
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in report(short, B).splitlines()[2:]]
    assert [row[1] for row in rows] == ["0.1", "best (control 0.1)", "0.1", "0.4"]
    assert rows[3][3:] == ["not reached"] * 4 and "not reached" not in rows[2] and rows[0][3].startswith("+0.120")


def test_rates_can_be_chosen_for_any_scale_with_a_sweep():
    study = Study("laptop").variant("words")
    assert list(sweeps(study)) == pytest.approx([0.000025, 0.00005, 0.0001, 0.0002])
    chosen = sweeps(study, 2, [0.0004, 0.0001])
    assert list(chosen) == [0.0001, 0.0004] and {config.train.lr for config in chosen[0.0004]} == {0.0004}
    assert [config.id for config in chosen[0.0001]] == [config.id for config in study.sweeps(2)]


def test_the_readme_shows_what_the_records_say(tmp_path, monkeypatch, capsys):
    """Five seeds of the laptop scale."""
    monkeypatch.setenv("ALLATT_HOME", str(tmp_path))
    figures = repository() / "figures"
    for seed in range(5):
        for config in (config for some in sweeps(Study("laptop"), seed).values() for config in some):
            folder = "laptop-5seeds/runs" if config.train.lr == 4e-4 else "laptop/rates"
            restore(figures / folder / f"{config.id}.json")
    assert pruning_rates.main(["--scale", "laptop", "--seeds", "5"]) == 0
    assert capsys.readouterr().out in (figures / "laptop" / "README.md").read_text(encoding="utf-8")


def test_main_prints_finished_runs_and_says_what_is_missing(monkeypatch, capsys):
    points, asked = {}, []
    for rate, share in zip((0.0001, 0.0002, 0.0004), (0, 1, 2), strict=True):
        for kind, make in zip(KINDS, (ours, theirs), strict=True):
            for seed in range(2):
                steps = ((20, 5.0), (16, 5.1), (10, 5.2), (0, 5.4)) if make is theirs else ((20, 5.1), (10, 5.2), (5, 5.3))
                for number, (heads, loss) in enumerate(steps):
                    points[rate, kind, seed, number] = make(heads, loss + 0.01 * share + 0.001 * seed, 0.1 * number, seed=seed)

    class Config:
        def __init__(self, key, kind):
            self.key, self.name, self.model = key, str(key), type("Model", (), {"kind": kind})

    def made_up_sweeps(study, seed, rates):
        asked.append((study.scale, study.corpus, seed, *rates))
        return {rate: [Config(key, key[1]) for key in points if key[0] == rate and key[2] == seed]
                for rate in (0.0001, 0.0002, 0.0004)}

    monkeypatch.setattr(pruning_rates, "sweeps", made_up_sweeps)
    monkeypatch.setattr(pruning_rates, "finished", lambda config: True)
    monkeypatch.setattr(pruning_rates, "get_or_run", lambda config: config)
    monkeypatch.setattr(pruning_rates.Point, "of_run", lambda run: points[run.key])
    assert pruning_rates.main(["--seeds", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 4 + 1 + 3 and lines[6].count("best (control 0.0001)") == 2
    assert asked == [("laptop", "", 0), ("laptop", "", 1)]
    monkeypatch.setattr(pruning_rates, "finished", lambda config: config.key[0] != 0.0002)
    arguments = ["--scale", "smoke", "--corpus", "text8-like", "--seed", "1", "--seeds", "1", "--rates", "0.1", "0.2"]
    assert pruning_rates.main(arguments) == 2
    assert asked[2:] == [("smoke", "text8-like", 1, 0.1, 0.2)]
    error = capsys.readouterr().err
    assert error.startswith("allatt: 7 runs are not finished")
    assert "experiment pruning-rates --scale smoke --seed 1 --seeds 1 --corpus text8-like" in error


def test_a_rate_that_is_no_number_is_one_line(capsys):
    with pytest.raises(SystemExit) as stop:
        pruning_rates.main(["--rates", "fast"])
    assert stop.value.code == 2 and "invalid float value: 'fast'" in capsys.readouterr().err.splitlines()[-1]
