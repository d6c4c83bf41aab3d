"use strict";
/* The page: buttons, and what they show. Everything that is computed comes from model.js and text.js. */

(() => {
  const { number, large, counted, percent, shade, element } = look;
  const data = JSON.parse(document.getElementById("data").textContent);
  const model = allatt.load(data), words = text.vocabulary(data.tokens), full = allatt.allOpen(model);
  const spelled = data.tokens.kind === "characters";
  const WRITTEN = spelled ? 160 : 40, REPEATED = spelled ? 30 : 6; // tokens that are written, and shown before them
  const MOST = spelled ? 800 : 300, TEMPERATURE = 0.8; // tokens that are read at most
  const $ = (id) => document.getElementById(id);
  const heads = full.flatMap((open_H, layer) => open_H.flatMap((open, head) => open ? [{ layer, head }] : []));
  const share = Math.max(1, Math.round(heads.length / 4));

  const state = {
    open: copy(full), ids: [], before: null, now: null, view: "now", shown: null, // shown: tokens that are on the page
    rises: null, // of the loss, by layer and head, on the present text
    draws: 0, // of random heads: each click is another one
    choice: 0, reading: 0, // numbers of the choice of heads and of the text: what was begun under earlier ones is out of date
    preset: "", measuring: false, then: null, // then: what is done when the rises are known
  };

  function copy(open_LH) { return open_LH.map((open_H) => [...open_H]); }
  const kept = (open_LH) => open_LH.flat().filter(Boolean).length;
  const body = (open_LH) => data.body.rest + data.body.head * kept(open_LH);

  // What one choice of heads makes of the text

  /** Reads the text in parts, then writes; yields when there is something new to show. */
  function* results(open_LH) {
    const result = { tokens: [], loss: NaN, written: [] }, { ids } = state;
    const cache = allatt.newCache(model, ids.length + WRITTEN + 1);
    let x_TD;
    for (let start = 0; start < ids.length; start += 8) {
      const part = ids.slice(start, start + 8);
      x_TD = allatt.read(model, part, cache, open_LH);
      result.tokens.push(...allatt.surprises(model, x_TD, ids.slice(start, start + 9)));
      if (start + 8 < ids.length) yield result;
    }
    result.loss = allatt.loss(result.tokens);
    yield result;
    const temperature = document.querySelector("[name=way]:checked").value === "drawn" ? TEMPERATURE : 0;
    for (const id of allatt.generate(model, x_TD, cache, open_LH, temperature, Number($("seed").value))) {
      result.written.push(id);
      if (result.written.length === WRITTEN) return result;
      yield result;
    }
  }

  /** Loss, writing and tokens anew for the chosen heads; for all heads, too, if the text or the way of writing is new. */
  function update(again = false) {
    const choice = state.choice += 1, outdated = () => choice !== state.choice;
    showHeads();
    if (state.ids.length < 2) return showNothing();
    const old = ["loss-now", "perplexity-now", "writing-now", ...(again || state.view === "now" ? ["tokens"] : [])];
    for (const id of old) $(id).classList.add("busy");
    const run = (place, open_LH, then) => {
      state[place] = null;
      work(results(open_LH), outdated, (result) => {
        if (!Number.isNaN(result.loss)) showResult(place, result);
      }, (result) => {
        state[place] = result;
        showResult(place, result);
        then();
      });
    };
    if (!again && state.before) run("now", state.open, remember);
    else run("before", full, () => run("now", state.open, remember));
  }

  /** The user's own choice of heads. */
  function choose(change) {
    state.preset = "";
    change();
    update();
  }

  function readText() {
    const { ids, missing } = words.encode($("text").value), { start } = data.tokens;
    const all = start < 0 ? ids : [start, ...ids];
    state.ids = all.slice(0, MOST);
    state.rises = null;
    state.reading += 1;
    $("history").replaceChildren();
    $("history-part").hidden = true;
    const notes = [counted(ids.length, "token")];
    if (all.length > MOST) notes.push(`only the first ${MOST} are read`);
    if (missing.length) {
      const names = missing.slice(0, 5).map((word) => `\u201c${word}\u201d`).join(", ");
      const more = missing.length > 5 ? ", \u2026" : "";
      notes.push(`the model does not know ${names}${more}: ${data.tokens.unknown < 0 ? "left out" : "read as <unk>"}`);
    }
    $("text-note").textContent = `${notes.join("; ")}. You may change it.`;
    if (state.ids.length < 2) $("text-note").textContent = "Write a few words: there is nothing to read.";
    update(true);
    if (!state.measuring) return;
    state.measuring = false; // it was of another text
    measure(state.then);
  }

  // What is shown

  function makeGrid() {
    // Eight heads fit on a phone; more are moved sideways, within their own frame.
    $("grid").style.gridTemplateColumns = `56px repeat(${model.H}, minmax(${model.H > 8 ? 42 : 30}px, 1fr))`;
    full.forEach((open_H, layer) => {
      const row = element("button", { type: "button", className: "layer", textContent: `layer ${layer + 1}` });
      row.onclick = () => choose(() => {
        const back = !state.open[layer].some(Boolean);
        state.open[layer] = open_H.map((open) => open && back);
      });
      row.disabled = !open_H.some(Boolean);
      $("grid").append(row);
      open_H.forEach((there, head) => {
        const cell = element("button", { type: "button", className: "head", id: `head-${layer}-${head}`, disabled: !there });
        cell.onclick = () => choose(() => { state.open[layer][head] = !state.open[layer][head]; });
        $("grid").append(cell);
      });
    });
  }

  /** The grid, and what follows from the number of heads alone. */
  function showHeads() {
    const rises = (state.rises || []).flat().filter((rise) => rise !== undefined);
    const [least, most] = [Math.min(...rises), Math.max(...rises)], complete = rises.length === heads.length;
    full.forEach((open_H, layer) => {
      const row = $("grid").children[layer * (model.H + 1)];
      const action = state.open[layer].some(Boolean) ? "remove all its heads" : "all its heads back";
      row.setAttribute("aria-label", `layer ${layer + 1}: ${action}`);
      open_H.forEach((there, head) => {
        const cell = $(`head-${layer}-${head}`), rise = state.rises?.[layer][head], open = state.open[layer][head];
        const name = `layer ${layer + 1}, head ${head + 1}`;
        cell.title = `${name}, ${there ? (open ? "kept" : "removed") : "gone: this model does not have it"}`
          + (rise === undefined ? "" : `, the loss rises by ${number(rise, 3)}`);
        cell.setAttribute("aria-label", cell.title);
        if (there) cell.setAttribute("aria-pressed", String(open));
        const shown = rise === undefined ? String(head + 1) : number(rise, Math.abs(rise) < 1 ? 3 : 2);
        cell.textContent = there ? shown.replace(/^(\u2212?)0\./, "$1.") : "\u2013";
        const level = complete ? (rise - least) / (most - least || 1) : 0;
        cell.style.background = there && complete ? shade(level) : "";
        cell.style.color = there && complete && level < 0.47 ? "#fff" : there && complete ? "#000" : "";
      });
    });
    $("legend").hidden = !complete || !rises.length;
    if (complete && rises.length) {
      $("least").textContent = number(least, 3);
      $("most").textContent = number(most, 3);
    }
    const all = model.H * model.layers.length;
    for (const [place, open_LH] of [["before", full], ["now", state.open]]) {
      $(`heads-${place}`).textContent = `${kept(open_LH)} of ${all}`;
      $(`body-${place}`).textContent = large(body(open_LH));
      $(`share-${place}`).textContent = `${number(100 * body(open_LH) / data.body.full, 1)}%`;
    }
    $("writing-heads").textContent = counted(kept(state.open), "head");
  }

  /** Loss, writing and tokens of one choice of heads: "before" (all its heads) or "now". */
  function showResult(place, { loss, written, tokens }) {
    $(`loss-${place}`).textContent = number(loss, 3);
    $(`loss-${place}`).title = loss;
    $(`perplexity-${place}`).textContent = number(Math.exp(loss), Math.exp(loss) < 1000 ? 1 : 0);
    let from = Math.max(0, state.ids.length - REPEATED);
    while (from > 0 && !starts(state.ids[from])) from -= 1;
    const tail = state.ids.slice(from), read = words.decode(tail).trimStart();
    const whole = words.decode([...tail, ...written]).trimStart();
    const before = element("span", { className: "read" }, `\u2026 ${read}`);
    $(`writing-${place}`).replaceChildren(before, whole.slice(read.length));
    for (const id of [`loss-${place}`, `perplexity-${place}`, `writing-${place}`]) $(id).classList.remove("busy");
    if (state.view === place && state.shown !== tokens) showTokens(tokens);
  }

  /** Without a text there are no numbers, those of an earlier one least of all. */
  function showNothing() {
    const places = ["loss", "perplexity", "writing"].flatMap((name) => [$(`${name}-before`), $(`${name}-now`)]);
    for (const place of places) Object.assign(place, { textContent: "\u2013" }).classList.remove("busy");
    state.before = state.now = null;
    showTokens([]);
  }

  /** Whether a word begins with this token. */
  function starts(id) {
    return data.tokens.kind === "words" || id === data.tokens.end || /^[\u2581 \n]/.test(data.tokens.pieces[id]);
  }

  function nameOf(id) {
    const shown = words.decode([id]);
    return shown === "\n" ? "\u21b5" : shown === " " ? "\u2423" : shown || data.tokens.pieces[id];
  }

  function showTokens(tokens) {
    state.shown = tokens;
    $("tokens").classList.remove("busy");
    $("token-note").textContent = "";
    $("tokens").replaceChildren(...tokens.map(({ id, nats, likeliest, most }) => {
      const told = `\u201c${nameOf(id)}\u201d had probability ${percent(Math.exp(-nats))} and surprised the model by `
        + `${number(nats, 2)} nats. ` + (likeliest === id ? "It was the likeliest token."
                                         : `The likeliest was \u201c${nameOf(likeliest)}\u201d (${percent(most)}).`);
      const chance = element("small", {}, percent(Math.exp(-nats)));
      const made = element("button", { type: "button", title: told }, nameOf(id), chance);
      if (!spelled && starts(id)) made.className = "starts";
      // 0 nats are white; from 10 on it is as dark as black letters allow.
      made.style.background = `rgba(230, 120, 0, ${Math.min(1, nats / 10) * 0.85})`;
      made.onclick = made.onfocus = () => {
        $("token-note").textContent = told;
        for (const other of $("tokens").children) other.tabIndex = other === made ? 0 : -1;
      };
      return made;
    }));
    // One stop of the tab key; the arrow keys go on from there.
    [...$("tokens").children].forEach((token, i) => { token.tabIndex = i === 0 ? 0 : -1; });
  }

  function moveAlong(event) {
    const { nextSibling, previousSibling } = event.target;
    const to = { ArrowRight: nextSibling, ArrowLeft: previousSibling }[event.key];
    if (to) to.focus();
  }

  /** A line for each choice of heads that was tried, so that they can be compared. */
  function remember() {
    if (kept(state.open) === heads.length) return;
    const layers = state.open.map((open_H) => open_H.filter(Boolean).length).join(" ");
    const line = `${counted(kept(state.open), "head")} (${layers} by layer): perplexity ${$("perplexity-now").textContent}`
      + (state.preset ? `, ${state.preset}` : "");
    if ($("history").lastChild?.textContent !== line) $("history").append(element("li", {}, line));
    while ($("history").children.length > 8) $("history").firstChild.remove();
    $("history-part").hidden = false;
  }

  // What each head matters, and choices that follow from it

  function measure(then = () => {}) {
    state.then = then;
    $("status").textContent = "";
    if (state.measuring || state.ids.length < 2) return;
    const found = full.map(() => new Array(model.H).fill(undefined)), { reading } = state;
    let done = 0;
    state.measuring = true;
    work(allatt.importance(model, state.ids), () => reading !== state.reading, (one) => {
      if (!one) return;
      found[one.layer][one.head] = one.rise;
      done += 1;
      $("status").textContent = `removing each head alone: ${done} of ${heads.length}`;
    }, () => {
      state.measuring = false;
      $("status").textContent = "";
      state.rises = found;
      showHeads();
      state.then();
    });
  }

  const choices = {
    random() {
      state.draws += 1;
      const uniform = allatt.noise(state.draws), order = new Map(heads.map((head) => [head, uniform.next().value]));
      remove([...heads].sort((a, b) => order.get(a) - order.get(b)), `random ${share} removed, draw ${state.draws}`);
    },
    weakest() { remove(ranked(), `weakest ${share} removed`); },
    strongest() { remove(ranked().reverse(), `strongest ${share} removed`); },
  };

  const ranked = () => [...heads].sort((a, b) => state.rises[a.layer][a.head] - state.rises[b.layer][b.head]);

  function remove(order, name) {
    state.open = copy(full);
    for (const { layer, head } of order.slice(0, share)) state.open[layer][head] = false;
    state.preset = name;
    update();
  }

  // Everything begins

  for (const place of document.querySelectorAll("[data-about]")) place.textContent = data.about[place.dataset.about];
  for (const place of document.querySelectorAll(".share")) place.textContent = share;
  $("per-head").textContent = `A head has ${large(data.body.head)} parameters; ${large(data.body.rest)} others belong to no `
    + "head, and stay.";
  $("shape").textContent = `${counted(model.layers.length, "layer")}, ${counted(heads.length, "head")}, `
    + `${large(body(full))} parameters in its body`;
  makeGrid();
  let waiting;
  $("text").value = data.text;
  $("text").oninput = () => { clearTimeout(waiting); waiting = setTimeout(readText, 300); };
  $("all").onclick = () => choose(() => { state.open = copy(full); });
  $("measure").onclick = () => measure();
  $("tokens").onkeydown = moveAlong;
  for (const button of document.querySelectorAll("[data-preset]")) {
    const { preset } = button.dataset;
    button.onclick = () => preset === "random" || state.rises ? choices[preset]() : measure(choices[preset]);
  }
  for (const input of [...document.querySelectorAll("[name=way]"), $("seed")]) input.onchange = () => update(true);
  for (const input of document.querySelectorAll("[name=view]")) {
    input.onchange = () => {
      state.view = input.value;
      if (state[state.view]) showTokens(state[state.view].tokens);
    };
  }
  readText();
})();
