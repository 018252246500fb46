// Where the picture lies on the canvas, in canvas pixels. Arithmetic only; nothing here knows the page.

const FIRST_SHARE = 0.6;

/** The picture's size on the canvas, rounded as the server rounds it. */
export function scaledSize(picture, scale) {
  return { width: Math.max(1, Math.round(picture.width * scale)), height: Math.max(1, Math.round(picture.height * scale)) };
}

/** The scale at which the picture just fits inside the canvas. */
export function fullScale(picture, canvas) {
  return Math.min(canvas.width / picture.width, canvas.height / picture.height);
}

/** A placement with every value inside what the server takes and some of the picture on the canvas. */
export function allowed(place, canvas, limits) {
  const inside = (value, low, high) => Math.min(Math.max(value, low), high);
  return {
    scale: Math.round(inside(place.scale, limits.scale[0], limits.scale[1]) * 1000) / 1000,
    x: inside(Math.round(place.x), 0, Math.min(limits.offset, canvas.width - 8)),
    y: inside(Math.round(place.y), 0, Math.min(limits.offset, canvas.height - 8)),
  };
}

export function centred(place, picture, canvas, limits) {
  const size = scaledSize(picture, place.scale);
  return allowed({ ...place, x: (canvas.width - size.width) / 2, y: (canvas.height - size.height) / 2 }, canvas, limits);
}

/** In the middle, with room to paint on every side. */
export function fitted(picture, canvas, limits) {
  const scale = allowed({ scale: FIRST_SHARE * fullScale(picture, canvas), x: 0, y: 0 }, canvas, limits).scale;
  return centred({ scale, x: 0, y: 0 }, picture, canvas, limits);
}

/** Another scale about the picture's own middle. */
export function rescaled(place, scale, picture, canvas, limits) {
  const next = allowed({ ...place, scale }, canvas, limits).scale;
  const [before, after] = [scaledSize(picture, place.scale), scaledSize(picture, next)];
  const x = place.x + (before.width - after.width) / 2;
  const y = place.y + (before.height - after.height) / 2;
  return allowed({ scale: next, x, y }, canvas, limits);
}
