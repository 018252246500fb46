// A picture from the visitor's device, made fit to be sent: a format and a size that the server takes.

const TYPES = ["image/png", "image/jpeg", "image/webp"];

/** Opens a file. Gives its name, bytes as a blob, size in pixels, and whether it had to be changed. */
export async function openPicture(file, settings) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error("This file cannot be opened as a picture. Choose a PNG, JPEG or WebP.");
  }
  const { width, height } = bitmap;
  const room = Math.sqrt(settings.max_pixels / (width * height));
  const small = TYPES.includes(file.type) && file.size <= settings.max_image_bytes && room >= 1 && !bitmapIsHuge(width, height, settings);
  if (small) {
    bitmap.close();
    return { name: file.name, blob: file, width, height, changed: false };
  }
  // Twice the canvas is all the detail that can be seen in the result.
  const shrink = Math.min(1, room, (2 * settings.largest_side) / Math.max(width, height));
  const canvas = new OffscreenCanvas(Math.max(1, Math.round(width * shrink)), Math.max(1, Math.round(height * shrink)));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const blob = await canvas.convertToBlob({ type: "image/png" });
  return { name: file.name, blob, width: canvas.width, height: canvas.height, changed: true };
}

// So large that even the smallest scale would cover the canvas.
function bitmapIsHuge(width, height, settings) {
  return Math.max(width, height) * settings.fields.scale.minimum > settings.largest_side / 2;
}

export function asDataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result));
    reader.addEventListener("error", () => reject(new Error("The picture cannot be read any more. Choose it again.")));
    reader.readAsDataURL(blob);
  });
}
