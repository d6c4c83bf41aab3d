"""The records of the overnight scale that the notebooks draw."""

import pytest

from allatt.course import overnight

RUNS = {**overnight.METHODS, **overnight.SHAPE, "control": overnight.CONTROL}


@pytest.mark.parametrize("name", RUNS)
def test_the_phases_belong_together_and_are_joined(name):
    phases = RUNS[name]
    records = [overnight.record(run) for run in phases]
    for first, then in zip(records, records[1:], strict=False):
        assert then["config"]["start"] == first["config"]
    path = overnight.trajectory(phases)
    assert path["step"] == sorted(set(path["step"])) and path["step"][-1] == 4000
    assert {len(column) for column in path.values()} == {len(path["step"])}
    assert path["kept"][-1] == records[-1]["result"]["heads"]["total"]


def test_the_variants_differ_in_what_their_names_say():
    gates = {name: overnight.record(phases[0])["config"]["gates"] for name, phases in overnight.METHODS.items()}
    whole = gates.pop("all three")
    changed = {name: {key for key, value in other.items() if value != whole[key]} for name, other in gates.items()}
    assert changed == {"gates start half open": {"initial"}, "no penalty warm-up": {"penalty_warmup"},
                       "no output scaling": {"output_scaling"},
                       "none of the three": {"initial", "penalty_warmup", "output_scaling"}}


def test_readings_of_a_run():
    phases = overnight.METHODS["all three"]
    above = overnight.above_control(phases)
    assert above["above"][0] == pytest.approx(3.98955 - 3.98372, abs=1e-3) and above["lambda"][0] == 0.022
    assert overnight.test_loss(phases) == pytest.approx(4.030, abs=5e-4)
    logits = overnight.last_logits(phases)
    assert len(logits) == 32 and sum(logit >= 0 for logit in logits) == above["kept"][-1] == 15
