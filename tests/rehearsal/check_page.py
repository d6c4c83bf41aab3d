"""Whether a page works in a real browser: python tests/rehearsal/check_page.py [--keep FOLDER]

Opens the pages of the two committed models in Chromium without a window, from a file, uses them as a person would, with mouse
and keyboard, at the width of a desk and of a phone, and compares what they show with torch: losses, perplexities, parameters,
each head's number, the text that is written. Nothing may ask for a network, and nothing may be said on the console. --keep
leaves pages and screenshots in a folder. Prints one line; status 0 if all is well, 1 if not, 2 without a Chromium.
"""

import argparse
import copy
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from browser import PROGRAMS, WIDTHS, Browser, program  # noqa: E402

TOLERANCE = 1e-3
"""Nats: by how much a loss that is shown may differ from torch's."""
OTHER_TEXT = "In the spring of 1905 the company moved to a new house near the station, and the old one was sold."


SHOWN = """(() => { const $ = (name) => document.querySelector(name), heads = [...document.querySelectorAll(".head")]; return {
    kept: heads.map((head) => head.getAttribute("aria-pressed") === "true"), names: heads.map((head) => head.ariaLabel),
    text: $("#text").value, body: $("#body-now").textContent, share: $("#share-now").textContent,
    heads: $("#heads-now").textContent, perplexity: $("#perplexity-now").textContent, loss: Number($("#loss-now").title),
    before: Number($("#loss-before").title), writing: $("#writing-now").textContent && $("#writing-now").lastChild.textContent,
    tokens: document.querySelectorAll("#tokens button").length, measured: !$("#legend").hidden,
    wide: document.documentElement.scrollWidth }; })()"""


def use(browser: Browser, path: Path, keep: Path | None) -> tuple[dict[str, dict], float]:
    """Opens a page and does what a person does; what it shows after each step, and the seconds that one click took."""
    browser.resize(1280)
    browser.ask("Page.navigate", url=path.as_uri())
    browser.wait()
    steps = {"all": browser.value(SHOWN)}
    browser.click("#head-0-1")
    browser.press("#head-2-3")  # at once: what the first click began is out of date
    browser.click("#head-3-0")
    browser.wait()
    steps["three heads"] = browser.value(SHOWN)
    begun = time.monotonic()
    browser.click("#head-1-5")
    while browser.value("document.querySelector('#perplexity-now').classList.contains('busy')"):
        time.sleep(0.01)
    seconds = time.monotonic() - begun
    browser.click(".layer")
    browser.wait()
    steps["a layer"] = browser.value(SHOWN)
    for preset in ("weakest", "strongest", "random"):
        browser.click(f"[data-preset={preset}]")
        browser.wait()
        steps[preset] = browser.value(SHOWN)
    for width in WIDTHS:
        browser.resize(width)
        steps[f"{width} pixels"] = browser.value(SHOWN)
        steps[f"{width} pixels"]["wide"] -= width  # not innerWidth: a phone shows a page that is too wide as a whole
        if keep:
            browser.picture(keep / f"{path.stem}-{width}.png")
    browser.resize(1280)
    browser.click("#all")
    browser.value("document.querySelector('#text').select()")
    browser.ask("Input.insertText", text=OTHER_TEXT)
    time.sleep(0.5)  # the page waits a moment, in case one goes on writing
    browser.wait()
    steps["another text"] = browser.value(SHOWN)
    return steps, seconds


def views(browser: Browser) -> list[str]:
    """What is wrong with the list of tokens: it must be that of its label, whatever is computed meanwhile."""
    listed = "document.querySelector('#tokens').textContent"
    wrong = []
    browser.click("[name=view][value=before]")
    browser.click("#head-1-1")
    browser.wait()
    if browser.value("document.querySelector('#tokens').classList.contains('busy')"):
        wrong.append("the tokens of all heads wait for a model that they are not of")
    with_all = browser.value(listed)
    browser.click("#head-1-2")
    browser.press("[name=view][value=now]")  # while the model reads or writes: what it writes moves the page under the mouse
    browser.wait()
    late = browser.value(listed)
    for value in ("before", "now"):
        browser.click(f"[name=view][value={value}]")
    if late == with_all or late != browser.value(listed):
        wrong.append("the tokens of all heads stand under the label of those that are chosen")
    browser.value("document.querySelector('#text').select()")
    browser.ask("Input.insertText", text="")
    browser.ask("Input.dispatchKeyEvent", type="keyDown", key="Delete", code="Delete", windowsVirtualKeyCode=46)
    time.sleep(0.5)
    browser.wait()
    step = browser.value(SHOWN)
    if step["text"] or step["perplexity"] != "\u2013" or step["tokens"]:
        wrong.append(f"without a text there is a perplexity of {step['perplexity']}, of {step['tokens']} tokens")
    return wrong


def compare(name: str, step: dict, known) -> tuple[list[str], float]:
    """What is wrong in what the page showed, and the difference of the loss."""
    import torch

    from allatt.cli.prompts import encode
    from allatt.generate import generate
    from allatt.prune import remove

    model, vocabulary, _ = known
    ids = [*encode(vocabulary, ""), *encode(vocabulary, step["text"])]

    def loss(kept) -> tuple[float, object]:
        small = remove(model, kept)
        with torch.no_grad():
            memory, parts = small.empty_memory(1), []
            for inputs, targets in zip(torch.tensor([ids[:-1]]).split(model.config.segment, 1),
                                       torch.tensor([ids[1:]]).split(model.config.segment, 1), strict=True):
                nll, memory = small.loss(inputs, targets, memory)
                parts.append(nll)
        return float(torch.cat(parts, 1).mean()), small

    H = model.config.heads
    kept = tuple(tuple(h for h in range(H) if step["kept"][layer * H + h]) for layer in range(model.config.layers))
    expected, small = loss(kept)
    full, _ = loss(model.config.kept_heads)
    body, body_before = small.parameter_counts()["body"], model.parameter_counts()["body"]
    perplexity = torch.tensor(expected).exp().item()
    written = vocabulary.decode([*ids[-1:], *generate(small, [ids], 40, temperature=0).flatten().tolist()])
    wrong = [what for what, bad in (
        (f"loss {step['loss']} instead of {expected}", not abs(step["loss"] - expected) < TOLERANCE),
        (f"loss {step['before']} of all heads instead of {full}", not abs(step["before"] - full) < TOLERANCE),
        (f"perplexity {step['perplexity']}", not abs(float(step["perplexity"]) - perplexity) <= 0.06 + perplexity * TOLERANCE),
        (f"{step['heads']} heads", step["heads"] != f"{sum(map(len, kept))} of {H * model.config.layers}"),
        (f"{step['body']} parameters instead of {body:,}", step["body"] != f"{body:,}"),
        (f"{step['share']} of the body", step["share"] != f"{100 * body / body_before:.1f}%"),
        (f"writing {step['writing'][:60]!r}", not written.endswith(step["writing"])),
        (f"{step['tokens']} tokens", step["tokens"] != len(ids) - 1),
        (f"{step['wide']} pixels too wide", name.endswith("pixels") and step["wide"] > 0)) if bad]
    if name == "weakest":
        for number, shown in enumerate(step["names"]):
            one = tuple(tuple(h for h in range(H) if layer * H + h != number) for layer in range(model.config.layers))
            rise = float(shown.rsplit(" ", 1)[1].replace("\u2212", "-"))
            if not abs(rise - (loss(one)[0] - full)) < TOLERANCE:
                wrong.append(shown)
    return [f"{name}: {what}" for what in wrong], abs(step["loss"] - expected)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", default="", metavar="FOLDER", help="leave pages and screenshots there")
    options = parser.parse_args()
    found = program()
    if found is None:
        print(f"allatt: there is no {PROGRAMS[0]} here, which shows the page; install it (apt-get install chromium)")
        return 2

    from allatt.sharing import saved
    from allatt.sharing.page import write_page

    problems, largest, slowest, begun = [], 0.0, 0.0, time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        keep = Path(options.keep).absolute() if options.keep else None
        folder = keep or Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        for kind in ("all-attention", "transformer-xl"):
            known = saved.load(ROOT / "figures" / "overnight" / "models" / kind)
            path = folder / f"{kind}.html"
            path.unlink(missing_ok=True)
            write_page(known, path)
            browser = Browser(found, Path(place) / kind)
            try:
                steps, seconds = use(browser, path, keep)
                problems += [f"{kind}: {said}" for said in views(browser) + browser.complaints()]
            except RuntimeError as error:
                problems.append(f"{kind}: {error}; {browser.complaints()[:3]}")
                continue
            finally:
                browser.close()
            halved = known._replace(model=copy.deepcopy(known.model).half().float())
            for name, step in steps.items():
                wrong, difference = compare(name, step, halved)
                problems += [f"{kind}, {what}" for what in wrong]
                largest, slowest = max(largest, difference), max(slowest, seconds)
    fine = (f"both pages show what torch computes, within {largest:.0e} nats; a click is answered in {slowest:.1f} s, nothing "
            f"is asked of a network, and nothing said on the console ({time.monotonic() - begun:.0f} s)")
    print(f"allatt: {'; '.join(problems[:5]) or fine}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
