"""Tables of the benchmark's results: as text for the terminal, as JSON files, and as markdown.

`python -m allatt.benchmarks.report` puts the tables of figures/bench/cpu.json into the README.md beside it.
"""

import sys
from pathlib import Path

from allatt.benchmarks.measure import SHARES
from allatt.config import KIND_NAMES, AllattError
from allatt.figures import figures_folder
from allatt.system.files import put_between, read_json, write_json
from allatt.system.messages import note
from allatt.system.text_tables import markdown_table
from allatt.system.text_tables import table as aligned

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
"""Lines of README.md that enclose the tables."""


def table(section: str, results: dict) -> str:
    """The results of a section of `bench.Bench` as aligned text."""
    if section in ("paths", "dropout"):
        blocks = {f"{section}, {name} ({part['rounds']} rounds, matrix products at {part['peak'] / 1e9:,.0f} GFLOP/s)":
                  _variants(part) for name, part in results.items()}
    elif section == "generation":
        blocks = {"generation, laptop shape": _generation(results)}
    elif section == "kernels":
        blocks = {f"kernels, {heads} head{'s' * (heads > 1)} (matrix products at {part['peak'] / 1e9:,.0f} GFLOP/s, copies at "
                  f"{results['copy'] / 1e9:,.0f} GB/s)": _kernels(part) for heads, part in results["heads"].items()}
        blocks |= {f"joint attention, {heads} head{'s' * (heads > 1)} (matrix products at {part['peak'] / 1e9:,.0f} GFLOP/s)":
                   _kernels(part) for heads, part in results["joint"].items()}
        if results["missing"]:
            blocks["left out"] = list(results["missing"].items())
    elif section == "step":
        blocks = {f"step, {results[0]['scale']} scale, {results[0]['rows']} rows": _steps(results)}
    else:
        rows_of = _lists if section == "lists" else _removal
        blocks = {f"{section}, {name}, {KIND_NAMES[kind]}": rows_of(part)
                  for name, parts in results.items() for kind, part in parts.items()}
    return "\n\n".join(f"{title}\n{aligned(rows, indent='  ')}" for title, rows in blocks.items())


def _variants(part: dict) -> list[tuple[str, ...]]:
    rows = [("", "ms", "best", "x", "x by best", "of peak", "MB")]
    for variant, values in part["variants"].items():
        rows.append((variant, f"{1e3 * values['median']:.1f}", f"{1e3 * values['best']:.1f}", f"{values['times_as_fast']:.2f}",
                     f"{values['best_times_as_fast']:.2f}", f"{values['share']:.0%}", _megabytes(values, digits=0)))
    return rows


def _generation(results: dict) -> list[tuple[str, ...]]:
    rows = [("", "tokens/s", "x", "x by best")]
    return rows + [(variant, f"{values['tokens_per_second']:,.0f}", f"{values['times_as_fast']:.2f}",
                    f"{values['best_times_as_fast']:.2f}") for variant, values in results["variants"].items()]


def _kernels(part: dict) -> list[tuple[str, ...]]:
    rows = [("", "ms", "best", "x", "of the product", "off by")]
    return rows + [(name, f"{1e3 * values['median']:.2f}", f"{1e3 * values['best']:.2f}", f"{values['times_as_fast']:.2f}",
                    f"{values['share']:.0%}", f"{values['off']:.1e}") for name, values in part["variants"].items()]


def _steps(results: list[dict]) -> list[tuple[str, ...]]:
    rows = [("", "ms", "worst", "tokens/s", "GFLOP/s", "GB")]
    for step in results:
        kind = "gates" if step["gated"] else f"{step['removed']:.0%} removed" if step["removed"] else "dense"
        rows.append((f"{KIND_NAMES[step['kind']]}, {kind}, {step['path']}{', compiled' * step['compiled']}",
                     f"{1e3 * step['seconds']:.1f}", f"{1e3 * step['worst']:.1f}", f"{step['tokens_per_second']:,.0f}",
                     f"{step['flop_per_second'] / 1e9:,.0f}", f"{step['bytes'] / 1e9:.1f}" if step["bytes"] else ""))
    return rows


def _removal(part: dict) -> list[tuple[str, ...]]:
    rows = [("", "time", "ideal", "off by", "MB")]
    return rows + [(f"{row['share']:.0%} {'gated' if row['gates'] else 'removed'}", *_times(row), _megabytes(row, digits=1))
                   for row in part["table"]]


def _lists(part: list[dict]) -> list[tuple[str, ...]]:
    rows = [("", "time", "ideal", "off by", "counted")]
    return rows + [(f"{row['name']}, {row['heads']} heads", *_times(row), f"{row['counted']:.3f}") for row in part]


def _times(row: dict) -> tuple[str, str, str]:
    """Measured time, ideal time, and their relative difference."""
    return f"{row['time']:.3f}", f"{row['ideal']:.3f}", f"{row['time'] / row['ideal'] - 1:+.1%}"


def _megabytes(values: dict, digits: int) -> str:
    return f"{values['bytes'] / 1e6:.{digits}f}" if "bytes" in values else ""


def save(results: dict, out: Path | None = None) -> Path:
    """Write the results of `bench.run` to `out`; by default to <device>.json, or <device>-quick.json, in figures/bench."""
    path = out or figures_folder("bench") / f"{results['device']}{'-quick' if results['quick'] else ''}.json"
    return write_json(path, results)


def markdown(results: dict) -> str:
    """The three tables of README.md, from the results of `bench.run`."""
    parts = {"inference": results["paths"]["inference"], "training": results["paths"]["training"],
             "training, dropout 0.2": results["dropout"]["training"]}
    speeds, removals = [], []
    for name in parts["inference"]["variants"]:
        cells = [f"{values['times_as_fast']:.2f} ({values['best_times_as_fast']:.2f}), {1e3 * values['median']:.0f} ms"
                 if values else "" for values in (part["variants"].get(name) for part in parts.values())]
        speeds.append([name, *cells])
    for name, kinds in results["removal"].items():
        for kind, part in kinds.items():
            removed = [row for row in part["table"] if not row["gates"] and row["share"]]
            half_gated = next(row for row in part["table"] if row["gates"])
            cells = [f"{row['time']:.2f} ({row['ideal']:.2f})" for row in removed] + [f"{half_gated['time']:.2f}"]
            removals.append([f"{KIND_NAMES[kind]}, {name}", *cells])
    variants = results["generation"]["variants"]
    generation = [[variant, f"{values['tokens_per_second']:,.0f}"] for variant, values in variants.items()]
    shares = [f"{share:.0%}" for share in SHARES if share]
    return "\n\n".join([
        markdown_table(["times as fast as the reference", *parts], speeds),
        markdown_table(["time left, of 1 (ideal), heads removed:", *shares, "50%, gated"], removals),
        markdown_table(["tokens per second, laptop shape", ""], generation)])


def main() -> int:
    """Update the tables of figures/bench/README.md from cpu.json; exit status 2 if that is not possible."""
    path, readme = figures_folder("bench") / "cpu.json", figures_folder("bench") / "README.md"
    try:
        is_changed = put_between(readme, BEGIN, END, markdown(read_json(path, "run `make bench` first")))
    except AllattError as error:
        note(str(error))
        return 2
    print(f"{readme.name}: the benchmark's tables {'were updated' if is_changed else 'are up to date'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
