// How long somebody really watched: seconds of their time during which the picture moved forward, whatever the speed, seeks left out.

const LONGEST_GAP_S = 5;

export class Meter {
  #seconds = 0;
  #last = null;

  /** The video was at `position` (s) at `now` (s, monotonic) while playing at `rate`. */
  sample(now, position, rate) {
    const last = this.#last;
    this.#last = { now, position };
    if (!last) return;
    const passed = now - last.now;
    const moved = (position - last.position) / (rate || 1);
    // A position that ran ahead of the clock is a jump, not watching; one that fell behind was a stall.
    if (moved > 0 && passed > 0 && moved < passed + 1) this.#seconds += Math.min(moved, passed, LONGEST_GAP_S);
  }

  /** The position is about to jump, or the video stands: what comes next does not continue what was. */
  interrupt() {
    this.#last = null;
  }

  get seconds() {
    return this.#seconds;
  }

  /** Whole seconds not taken yet; the fraction stays for the next time. */
  take() {
    const taken = Math.floor(this.#seconds);
    this.#seconds -= taken;
    return taken;
  }
}
