"""Logs of the overnight scale's runs, which the notebooks draw at every scale, without the runs' weights.

The records are in figures/overnight/runs, all of seed 0; figures/overnight/README.md has them in tables.
"""

from allatt.system.files import read_json
from allatt.system.paths import repository

RESULTS = repository() / "figures" / "overnight"
"""The committed results, whatever ALLATT_FIGURES says."""
METHODS = {
    "all three": ("1781bfe589bc", "03e6a6a56a6b"),
    "gates start half open": ("cf8b4adb71f4", "4c2eabe826d0"),
    "no penalty warm-up": ("c7780d32f42b", "f726d17d6876"),
    "no output scaling": ("1d249fe2b97b", "ca9da4284569"),
    "none of the three": ("7b2e52bb93bd", "47413df74fd6"),
}
"""Runs of All-attention at lambda 0.11, as in notebook 06: with gates, then their consolidation."""
CONTROL = ("a4e0dca763fe", "434758fe2be3")
"""The same with lambda 0."""
SHAPE = {
    "from the trained model": ("c6fb7bb40d52", "35620283bdf9"),
    "from random weights": ("f03a733d9538",),
    "random weights, same total steps": ("2648d46132f7", "a3bbe9cef171"),
}
"""Training of the 22 heads that gates had chosen, without gates: two runs of 4,000 steps, and one of 20,000."""


def record(run: str) -> dict:
    """A run's record by its id."""
    return read_json(RESULTS / "runs" / f"{run}.json", "it belongs to the project")


def trajectory(phases: tuple[str, ...]) -> dict[str, list]:
    """Step, training loss, lambda and kept heads of the phases of a run, one after the other. In phases without gates, lambda
    is None, and the heads are those that the model has."""
    columns: dict[str, list] = {"step": [], "loss": [], "lambda": [], "kept": []}
    for run in map(record, phases):
        log, before = run["metrics"], (columns["step"] or [0])[-1]
        lines = len(log["step"])
        columns["step"] += [before + step for step in log["step"]]
        columns["loss"] += log["loss"]
        columns["lambda"] += log.get("lambda", [None] * lines)
        heads = run["result"]["heads"]["total"]
        columns["kept"] += ["".join(line).count("1") for line in log["kept"]] if "kept" in log else [heads] * lines
    return columns


def above_control(phases: tuple[str, ...]) -> dict[str, list]:
    """A trajectory with `above`: its training loss minus the control's at the same step, on the same batch."""
    ours, control = trajectory(phases), trajectory(CONTROL)
    return ours | {"above": [a - b for a, b in zip(ours["loss"], control["loss"], strict=True)]}


def last_logits(phases: tuple[str, ...]) -> list[float]:
    """The logits of all gates at the end of the first phase, layer by layer."""
    return [logit for layer in record(phases[0])["metrics"]["logits"][-1] for logit in layer]


def test_loss(phases: tuple[str, ...]) -> float:
    """Nats per token on the test text, after the last phase."""
    return record(phases[-1])["result"]["test"]["loss"]
