"""What training logged of finished runs: learning curves, and how heads opened and closed."""

from itertools import pairwise

from allatt.runs import Run


def history(run: Run) -> dict[str, list]:
    """The training log as columns: step, tokens, loss; with gates also lambda, expected and kept (numbers of heads)."""
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
    columns, control_loss = history(run), {line["step"]: line["loss"] for line in control.metrics()}
    losses = zip(columns["step"], columns["loss"], strict=True)
    above = [loss - control_loss[step] if step in control_loss else None for step, loss in losses]
    return {"step": columns["step"], "kept": columns["kept"], "above": above}


def flips(run: Run, after: float = 0.5) -> int:
    """How often a head opened or closed between logged lines, after this share of the steps; 0 means settled."""
    kept = ["".join(line["kept"]) for line in run.metrics() if line["step"] >= after * run.config.train.steps]
    return sum(a != b for old, new in pairwise(kept) for a, b in zip(old, new, strict=True))
