/* What test_page.py asks of the scripts of a page: node page_in_node.js FOLDER < question. FOLDER holds model.js, text.js and
data.json, taken out of the page; the question and the answer are JSON. */
const fs = require("fs"), path = require("path");
const folder = path.resolve(process.argv[2]), ask = JSON.parse(fs.readFileSync(0, "utf8"));
const allatt = require(path.join(folder, "model.js")), text = require(path.join(folder, "text.js"));
const data = JSON.parse(fs.readFileSync(path.join(folder, "data.json"), "utf8"));
const vocabulary = text.vocabulary(data.tokens), answer = {};

if (ask.encode) answer.encoded = ask.encode.map((typed) => vocabulary.encode(typed));
if (ask.tokenize) answer.tokenized = ask.tokenize.map(text.tokenize);
if (ask.decode) answer.decoded = ask.decode.map(vocabulary.decode);
if (ask.ids) {
  const model = allatt.load(data), open = ask.open || allatt.allOpen(model);
  const read = (parts, room) => {
    const cache = allatt.newCache(model, ask.ids.length + room), logs = [];
    let x_TD, start = 0;
    for (const size of parts) {
      x_TD = allatt.read(model, ask.ids.slice(start, start + size), cache, open);
      for (let t = 0; t < size; t++) logs.push(Array.from(allatt.logProbs(model, x_TD, t)));
      start += size;
    }
    return { cache, x_TD, logs };
  };
  const { cache, x_TD, logs } = read(ask.parts || [ask.ids.length], ask.write || 0);
  answer.logs = logs;
  answer.open = allatt.allOpen(model);
  const whole = allatt.read(model, ask.ids, allatt.newCache(model, ask.ids.length), open);
  answer.loss = allatt.loss(allatt.surprises(model, whole, ask.ids));
  answer.written = [];
  const writing = allatt.generate(model, x_TD, cache, open, ask.temperature || 0, ask.seed || 0);
  while (answer.written.length < (ask.write || 0)) answer.written.push(writing.next().value);
  if (ask.importance) answer.rises = [...allatt.importance(model, ask.ids)].filter(Boolean);
}
if (ask.draw) answer.drawn = ask.draw.map(([logs, ...how]) => allatt.draw(Float32Array.from(logs), ...how));
if (ask.noise) {
  const numbers = allatt.noise(ask.noise.seed);
  answer.noise = Array.from({ length: ask.noise.length }, () => numbers.next().value);
}
if (ask.halves) answer.halves = Array.from(allatt.decodeHalves(ask.halves), String);
fs.writeSync(1, JSON.stringify(answer));
