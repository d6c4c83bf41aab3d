"use strict";
/* Text and tokens in plain JavaScript, equal to allatt/data/tokenizers.py and, for what people type, to `tokenize` of
allatt/data/wikitext_format.py. No page: this file runs in Node, too.

Left out of `tokenize`: nothing that is known. Signs and letters are those of the browser's version of Unicode, which may be
another one than Python's. Paragraphs that are wrapped over several lines are not joined: a line feed is an end of line. */

const text = (() => {
  const LETTER = String.raw`\p{L}\p{Nl}\p{No}`, WORD = String.raw`\p{L}\p{N}_`, SPACE = String.raw`\s\x1c-\x1f\x85`;
  // Marks of all scripts, the two joiners, and the skin colors and tags of emoji continue what stands before them.
  const MARK = String.raw`\p{M}\u200c\u200d\u{1f3fb}-\u{1f3ff}\u{e0020}-\u{e007f}`;
  const BETWEEN = "\u00b7\u055b\u055c\u055e\u05f3\u05f4";
  const CYRILLIC = String.raw`\u0400-\u0481\u048a-\u052f\u1c80-\u1c8f\u1d2b\u1d78\ua640-\ua69f\u{1e030}-\u{1e08f}`;
  const SEPARATORS = ".,\u066b\u066c";
  const ABBREVIATIONS = "Mr|Mrs|Ms|Dr|St|Jr|Sr|vs|cf|ca|sp|al|etc|Inc|Ltd|Co|Gen|Col|Lt|Prof|Rev|Gov|Sen|[A-Z]";
  const SIGN = String.raw`[${BETWEEN}](?<=[${LETTER}].|[${MARK}].)(?=[${LETTER}])`
    + String.raw`|['\u2019](?<=[${CYRILLIC}${MARK}].)(?=[${CYRILLIC}])`;
  const ONE = `[${WORD}${MARK}]+(?:(?:${SIGN})[${WORD}${MARK}]+)*`;
  // What stays one word, in this order: see `_token` there. Its \b is spelled out, since JavaScript's knows ASCII alone.
  const TOKEN = new RegExp(
    String.raw`<[a-z]+>|@[\-${SEPARATORS}]@|(?:(?<![${WORD}])[${LETTER}]\.){2,}`
    + String.raw`|(?<![${WORD}])(?:${ABBREVIATIONS})\.(?=[${SPACE}]+[^${SPACE}]|[,;)])`
    + String.raw`|(?<![${WORD}])No\.(?=[${SPACE}]*\p{Nd})`
    + String.raw`|(?<=[${WORD}${MARK}])'${ONE}|'(?:s|t|re|ve|ll|d|m)(?![${WORD}])|(?=[${WORD}])${ONE}`
    + String.raw`|[\u{1f1e6}-\u{1f1ff}]{2}|\.{2,}|[^${SPACE}][${MARK}]*(?:(?<=\u200d)[^${SPACE}${WORD}][${MARK}]*)*`, "gu");
  const SEEN = String.raw`[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u{110bd}\u{110cd}\u200c\u200d\u{e0020}-\u{e007f}]`;
  const INVISIBLE = new RegExp(String.raw`(?!${SEEN})\p{Cf}`, "gu");
  const HYPHEN = new RegExp(`(?<=[${WORD}])-(?=[${WORD}])`, "gu");
  const IN_NUMBER = new RegExp(String.raw`(?<=\p{Nd})([${SEPARATORS}])(?=\p{Nd})`, "gu");

  /** One line as WikiText writes it: words and punctuation separated by single spaces; hyphens in words become @-@. */
  function tokenize(line) {
    const seen = line.replace(/\u200b/g, " ").replace(INVISIBLE, "").normalize("NFC");
    return (seen.replace(HYPHEN, " @-@ ").replace(IN_NUMBER, " @$1@ ").match(TOKEN) || []).join(" ");
  }

  /** What encodes and decodes texts: ids of a text, with the words that the vocabulary does not have. */
  function vocabulary({ kind, pieces, scores, unknown, end }) {
    // Control pieces (score null) stand for no text, and <eos> among words is the line end: nobody can type them.
    const ids = new Map(pieces.map((piece, id) => [piece, id]).filter(([, id]) => !(scores && scores[id] === null)));
    if (kind === "words") ids.delete("<eos>");

    /** Byte-pair encoding: of all neighbors, those whose union has the best score are joined, the leftmost first. */
    function merge(word) {
      const parts = ["\u2581", ...word.replaceAll("\u2581", "\ufffd")]; // that sign stands for the space before a word
      for (;;) {
        let best = -1, score = -Infinity;
        for (let i = 0; i + 1 < parts.length; i++) {
          const id = ids.get(parts[i] + parts[i + 1]);
          if (id !== undefined && scores[id] > score) [best, score] = [i, scores[id]];
        }
        if (best < 0) break;
        parts.splice(best, 2, parts[best] + parts[best + 1]);
      }
      const found = parts.map((part) => ids.get(part) ?? unknown);
      return found.filter((id, i) => id !== unknown || found[i - 1] !== unknown); // neighbors that are unknown are one
    }

    function encodeWord(word) {
      if (word === "<unk>") return [unknown];
      return kind === "words" ? [ids.get(word) ?? unknown] : merge(word);
    }

    function encode(typed) {
      const found = [], missing = new Set();
      const add = (part, partIds) => {
        if (part !== "<unk>" && partIds.includes(unknown)) missing.add(part);
        found.push(...partIds.filter((id) => id >= 0)); // a vocabulary of characters may have no <unk>
      };
      if (kind === "characters") {
        for (const character of typed.normalize("NFC")) add(character, [ids.get(character) ?? unknown]);
      } else {
        typed.split("\n").map(tokenize).forEach((line, i) => {
          if (i > 0) found.push(end);
          for (const word of line.split(" ")) if (word) add(word, encodeWord(word));
        });
      }
      return { ids: found, missing: [...missing] };
    }

    function decode(given) {
      if (kind === "characters") return given.map((id) => pieces[id]).join("");
      if (kind === "words") return given.map((id) => id === end ? "\n" : pieces[id]).join(" ").replace(/ ?\n ?/g, "\n");
      const shown = given.map((id) => id === end ? "\n" : id === unknown ? " <unk> " : pieces[id]);
      return shown.join("").replaceAll("\u2581", " ").split("\n").map((line) => line.replace(/ +/g, " ").trim()).join("\n");
    }

    return { encode, decode };
  }

  return { tokenize, vocabulary };
})();

if (typeof module !== "undefined") module.exports = text;
