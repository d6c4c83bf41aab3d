"use strict";
/* With #self-test at the end of its address, the page uses itself as a person would, and writes what it shows into
<pre id="self-test"> as JSON, for tests/rehearsal/check_page.py, which compares it with torch. */

if (location.hash === "#self-test") {
  const errors = [], $ = (selector) => document.querySelector(selector);
  addEventListener("error", (event) => errors.push(event.message));
  const idle = () => new Promise((resolve) => {
    const ask = () => document.body.dataset.state === "idle" ? resolve() : setTimeout(ask, 20);
    setTimeout(ask, 20);
  });
  const click = async (...buttons) => {
    for (const button of buttons) button.click();
    await idle();
  };
  const shown = () => ({
    kept: [...document.querySelectorAll(".head")].map((cell) => cell.getAttribute("aria-pressed") === "true"),
    body: $("#body-now").textContent, share: $("#share-now").textContent, perplexity: $("#perplexity-now").textContent,
    loss: Number($("#loss-now").title), writing: $("#writing-now").lastChild.textContent,
    tokens: document.querySelectorAll("#tokens button").length, numbers: $("#legend").hidden ? null
      : [...document.querySelectorAll(".head")].map((cell) => cell.getAttribute("aria-label")),
    wide: document.documentElement.scrollWidth > innerWidth, history: $("#history").textContent, errors,
  });
  (async () => {
    await idle();
    const found = { text: $("#text").value, all: shown() };
    await click(...[...document.querySelectorAll(".head:enabled")].filter((_, i) => i % 5 === 1).slice(0, 3));
    found.three = shown();
    await click($("[data-preset=weakest]"));
    found.weakest = shown();
    await click($("[data-preset=strongest]"));
    found.strongest = shown();
    await click($("[data-preset=random]"));
    found.random = shown();
    await click($("#all"));
    found.back = shown();
    document.body.append(Object.assign(document.createElement("pre"), { id: "self-test", textContent: JSON.stringify(found) }));
  })();
}
