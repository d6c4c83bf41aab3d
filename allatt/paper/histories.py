"""What training logged about finished runs: learning curves, how heads opened and closed, and whether gates had settled."""

from itertools import pairwise

from allatt.runs import Run

LATE = 0.8
"""Share of the gates' steps after which a gate that opens or closes has not settled (our choice: the last fifth)."""
NEAR = 0.5
"""A gate whose logit is closer to 0 than this is undecided: it is open with a probability of 38% to 62% (our choice)."""


def history(run: Run) -> dict[str, list]:
    """The training log as columns: step, tokens, loss; with gates also lambda, expected and kept (numbers of heads).

    A consolidated run's columns begin with those of its first phase. In the second, lambda and expected are None.
    """
    columns = _columns(run)
    if not run.config.consolidate:
        return columns
    first = history(run.gated())
    steps, tokens = first["step"][-1], first["tokens"][-1]
    columns = {"step": [steps + step for step in columns["step"]], "tokens": [tokens + n for n in columns["tokens"]],
               "loss": columns["loss"]}
    lines = len(columns["step"])
    columns |= {"lambda": [None] * lines, "expected": [None] * lines, "kept": [run.result["heads"]["total"]] * lines}
    return {name: first[name] + columns[name] for name in first}


def _columns(run: Run) -> dict[str, list]:
    lines = run.metrics()
    columns = {key: [line[key] for line in lines] for key in ("step", "tokens", "loss")}
    if run.config.gates is not None:
        columns |= {"lambda": [line["lambda"] for line in lines], "expected": [line["expected_open"] for line in lines],
                    "kept": ["".join(line["kept"]).count("1") for line in lines]}
    return columns


def loss_gap(ours: dict[str, list], theirs: dict[str, list]) -> dict[str, list]:
    """Training loss of one history minus that of another, at all numbers of tokens that both logged."""
    ours, theirs = (dict(zip(columns["tokens"], columns["loss"], strict=True)) for columns in (ours, theirs))
    both = sorted(set(ours) & set(theirs))
    return {"tokens": both, "loss": [ours[tokens] - theirs[tokens] for tokens in both]}


def trajectory(run: Run, control: Run) -> dict[str, list]:
    """Step, kept heads, and training loss above the control's at the same step (None if the control did not log it)."""
    columns, other = history(run), history(control)
    control_loss = dict(zip(other["step"], other["loss"], strict=True))
    losses = zip(columns["step"], columns["loss"], strict=True)
    above = [loss - control_loss[step] if step in control_loss else None for step, loss in losses]
    return {"step": columns["step"], "kept": columns["kept"], "above": above}


def flips(run: Run, after: float = LATE) -> int:
    """How often a head opened or closed between logged lines, after this share of the gates' steps; 0 means settled."""
    gates = run.gated()
    kept = ["".join(line["kept"]) for line in gates.metrics() if line["step"] >= after * gates.config.train.steps]
    return sum(a != b for old, new in pairwise(kept) for a, b in zip(old, new, strict=True))


def undecided(run: Run) -> int:
    """Number of gates whose logit is closer to 0 than NEAR at the end of the gates' training."""
    return sum(abs(a) < NEAR for layer in run.gated().metrics()[-1]["logits"] for a in layer)
