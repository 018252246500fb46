// Before and after: one above the other, and a line between them that slider and pointer move.

const REVEAL_MS = 900;

export class Compare {
  /** `shown` says whether there is a result to compare. */
  constructor(stage, slider, shown) {
    Object.assign(this, { stage, slider, shown, frame: 0 });
    slider.addEventListener("input", () => this.#hold(Number(slider.value)));
    stage.addEventListener("pointerdown", (event) => this.#slide(event));
    stage.addEventListener("pointermove", (event) => event.buttons & 1 && this.#slide(event));
  }

  /** Uncover the result from left to right, once; at once for who asked for less motion. */
  reveal() {
    const length = matchMedia("(prefers-reduced-motion: reduce)").matches ? 1 : REVEAL_MS;
    const begin = performance.now();
    const step = (now) => {
      const left = Math.max(0, 1 - (now - begin) / length);
      this.#cut(100 * (1 - left ** 3));
      if (left > 0 && this.shown()) this.frame = requestAnimationFrame(step);
    };
    this.#cut(0);
    this.frame = requestAnimationFrame(step);
    this.slider.focus({ preventScroll: true });
  }

  #slide(event) {
    if (!this.shown()) return;
    const box = this.stage.getBoundingClientRect();
    this.#hold(Math.min(100, Math.max(0, (100 * (event.clientX - box.left)) / box.width)));
  }

  /** Put the line where the visitor wants it; a reveal that still runs gives way. */
  #hold(percent) {
    cancelAnimationFrame(this.frame);
    this.#cut(percent);
  }

  /** Show the result left of `percent` of the width, and the picture before it on the right. */
  #cut(percent) {
    this.slider.value = percent;
    this.stage.style.setProperty("--cut", `${percent}%`);
  }
}
