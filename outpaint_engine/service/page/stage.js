// The canvas on the page: shows the picture in its true proportions and lets mouse, fingers and keys place it.

import { allowed, centred, fitted, fullScale, rescaled, scaledSize } from "./placement.js";

const STEP = 8;
const LEAP = 64;
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Stage {
  /** `changed` is called after every change of the placement. */
  constructor(element, limits, changed) {
    Object.assign(this, { element, limits, changed, canvas: { width: 1, height: 1 }, natural: null, place: null, locked: false });
    this.picture = element.querySelector("#picture");
    this.grip = element.querySelector("#grip");
    this.pointers = new Map();
    this.picture.addEventListener("pointerdown", (event) => this.#take(event, "move"));
    this.grip.addEventListener("pointerdown", (event) => this.#take(event, "scale"));
    for (const name of ["pointermove", "pointerup", "pointercancel"]) {
      element.addEventListener(name, (event) => (name === "pointermove" ? this.#pull(event) : this.pointers.delete(event.pointerId)));
    }
    element.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Put another picture (an object URL and its size in pixels) in the middle. */
  show(url, natural) {
    this.natural = natural;
    this.picture.src = url;
    this.set(fitted(natural, this.canvas, this.limits));
  }

  /** Change the canvas; the picture keeps its size and its distance from the middle. */
  resize(canvas) {
    const [dx, dy] = [(canvas.width - this.canvas.width) / 2, (canvas.height - this.canvas.height) / 2];
    this.canvas = canvas;
    this.element.style.setProperty("--w", canvas.width);
    this.element.style.setProperty("--h", canvas.height);
    if (this.place) this.set({ ...this.place, x: this.place.x + dx, y: this.place.y + dy });
  }

  set(place) {
    this.place = allowed(place, this.canvas, this.limits);
    const size = scaledSize(this.natural, this.place.scale);
    const share = (value, whole) => `${(100 * value) / whole}%`;
    for (const [name, value, whole] of [
      ["left", this.place.x, this.canvas.width],
      ["top", this.place.y, this.canvas.height],
      ["width", size.width, this.canvas.width],
      ["height", size.height, this.canvas.height],
    ]) {
      this.picture.style.setProperty(name, share(value, whole));
    }
    // A corner that lies outside the canvas is brought to its border, where it can still be held.
    this.grip.style.setProperty("left", share(Math.min(this.place.x + size.width, this.canvas.width), this.canvas.width));
    this.grip.style.setProperty("top", share(Math.min(this.place.y + size.height, this.canvas.height), this.canvas.height));
    this.changed();
  }

  scale(scale) {
    this.set(rescaled(this.place, scale, this.natural, this.canvas, this.limits));
  }

  centre() {
    this.set(centred(this.place, this.natural, this.canvas, this.limits));
  }

  /** The picture's size as a percentage of the largest that fits the canvas. */
  get percent() {
    return (100 * this.place.scale) / fullScale(this.natural, this.canvas);
  }

  set percent(value) {
    this.scale((value / 100) * fullScale(this.natural, this.canvas));
  }

  get free() {
    return this.place !== null && !this.locked;
  }

  #take(event, what) {
    if (!this.free || event.button !== 0) return;
    event.preventDefault();
    this.element.focus({ preventScroll: true });
    event.target.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    this.what = what;
    // Measured from where the hold began: small moves are not lost to rounding.
    this.start = { place: this.place, points: this.#points() };
  }

  #pull(event) {
    if (!this.free || !this.pointers.has(event.pointerId)) return;
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    const { place, points } = this.start;
    const now = this.#points();
    if (now.length !== points.length) {
      this.start = { place: this.place, points: now };
      return;
    }
    const perPixel = this.canvas.width / this.element.clientWidth;
    const by = (axis) => (middle(now)[axis] - middle(points)[axis]) * perPixel;
    if (this.what === "scale") {
      const size = scaledSize(this.natural, place.scale);
      const grown = Math.max((size.width + by("x")) / size.width, (size.height + by("y")) / size.height);
      this.set({ ...place, scale: place.scale * grown });
      return;
    }
    const pinched = now.length > 1 ? place.scale * (spread(now) / spread(points)) : place.scale;
    const next = rescaled(place, pinched, this.natural, this.canvas, this.limits);
    this.set({ ...next, x: next.x + by("x"), y: next.y + by("y") });
  }

  #points() {
    return [...this.pointers.values()];
  }

  #key(event) {
    if (!this.free || event.ctrlKey || event.metaKey || event.target !== this.element) return;
    const distance = event.shiftKey ? LEAP : event.altKey ? 1 : STEP;
    if (event.key in KEYS) {
      const [dx, dy] = KEYS[event.key];
      this.set({ ...this.place, x: this.place.x + dx * distance, y: this.place.y + dy * distance });
    } else if (event.key === "+" || event.key === "=") this.scale(this.place.scale * 1.05);
    else if (event.key === "-" || event.key === "_") this.scale(this.place.scale / 1.05);
    else return;
    event.preventDefault();
  }
}

function middle(points) {
  const mean = (axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length;
  return { x: mean("x"), y: mean("y") };
}

function spread([first, second]) {
  return Math.max(1, Math.hypot(first.x - second.x, first.y - second.y));
}
