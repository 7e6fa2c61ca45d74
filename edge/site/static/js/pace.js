// Doing something again and again while the page is looked at, one at a time, slower while it fails.

/** Calls `step` now, then `every()` ms after each end. A hidden page rests; on return the step runs at once. */
export function repeat(step, every, slowest = 30_000) {
  let timer = 0;
  let running = false;
  let failures = 0;
  let stopped = false;

  async function turn() {
    clearTimeout(timer);
    if (running || stopped || document.hidden) return;
    running = true;
    try {
      await step();
      failures = 0;
    } catch {
      failures += 1;
    }
    running = false;
    if (!stopped) timer = setTimeout(turn, Math.min(every() * 2 ** Math.min(failures, 6), Math.max(slowest, every())));
  }

  document.addEventListener('visibilitychange', turn);
  turn();
  return {
    now: turn,
    stop() {
      stopped = true;
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', turn);
    },
  };
}
