"use strict";
/* Numbers and colors as people read them, and elements of the page. */

const look = (() => {
  // matplotlib's cividis at six points: dark is low, and it looks the same with any color vision.
  const CIVIDIS = ["#00224e", "#35456c", "#666970", "#948e77", "#c8b866", "#fee838"];

  const number = (value, digits) => value.toFixed(digits).replace(/^-(?=0\.?0*$)/, "").replace("-", "\u2212");

  const large = (count) => count.toLocaleString("en-US");

  const counted = (n, name) => `${n} ${name}${n === 1 ? "" : "s"}`;

  const percent = (part) => part < 0.001 ? "<.1%" : `${number(100 * part, part < 0.1 ? 1 : 0)}%`;

  /** The color of a level from 0 to 1, between its two neighbors of CIVIDIS. */
  function shade(level) {
    const place = level * (CIVIDIS.length - 1), low = Math.min(Math.floor(place), CIVIDIS.length - 2), part = place - low;
    const channel = (color, i) => parseInt(color.slice(1 + 2 * i, 3 + 2 * i), 16);
    const mixed = [0, 1, 2].map((i) => (1 - part) * channel(CIVIDIS[low], i) + part * channel(CIVIDIS[low + 1], i));
    return `rgb(${mixed.map(Math.round)})`;
  }

  /** A new element. Texts are never read as HTML. */
  function element(name, properties = {}, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  return { number, large, counted, percent, shade, element };
})();
