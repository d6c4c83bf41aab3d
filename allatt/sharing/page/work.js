"use strict";
/* Long work without blocking the page. */

/** Run the steps of a generator in slices of a few milliseconds, so that the page answers in between. `each` is called with
 * what a step yields, `done` with what the last one returns, and neither once `outdated` says so. The body's data-state tells
 * whether anything is at work. */
const work = (() => {
  const SLICE = 30; // milliseconds
  let running = 0;

  return (steps, outdated, each, done) => {
    const slice = () => {
      for (const until = performance.now() + SLICE; performance.now() < until;) {
        const { value, done: ended } = outdated() ? { done: true } : steps.next();
        if (ended) {
          if (!outdated()) done(value);
          running -= 1;
          document.body.dataset.state = running ? "busy" : "idle";
          return;
        }
        each(value);
      }
      setTimeout(slice, 0);
    };
    running += 1;
    document.body.dataset.state = "busy";
    setTimeout(slice, 0);
  };
})();
