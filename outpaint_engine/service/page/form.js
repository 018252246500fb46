// The form: filled from what the server offers, and read back as the fields of a request.

/** `offered` are the schema's fields by name; `chosen` is called with each canvas that is chosen, the first one too. */
export function fillForm(form, offered, chosen) {
  const { prompt, negative_prompt, scheduler } = form.elements;
  for (const name of offered.scheduler.enum) scheduler.add(new Option(name));
  scheduler.value = offered.scheduler.default;
  prompt.maxLength = negative_prompt.maxLength = offered.prompt.maxLength;
  for (const label of form.querySelectorAll(".slide")) fillSlider(label, offered);
  for (const name of ["offset_x", "offset_y", "scale"]) {
    Object.assign(form.querySelector(`#${name}`), { min: offered[name].minimum, max: offered[name].maximum });
  }
  offerCanvases(form.querySelector("#canvases"), offered.img_width, offered.img_height, chosen);
}

/** Every field of the body but the image; `place` is where the picture lies. */
export function readForm(form, place) {
  const number = (name) => Number(form.elements[name].value);
  const [img_width, img_height] = form.elements.canvas.value.split("x").map(Number);
  const negative = form.elements.negative_prompt.value;
  return {
    prompt: form.elements.prompt.value,
    ...(negative && { negative_prompt: negative }),
    scheduler: form.elements.scheduler.value,
    num_inference_steps: number("num_inference_steps"),
    img_width,
    img_height,
    scale: place.scale,
    offset_x: place.x,
    offset_y: place.y,
    strength: number("strength"),
    guidance_scale: number("guidance_scale"),
    mask_expand: number("mask_expand"),
    seed: form.elements.seed.value === "" ? -1 : number("seed"),
  };
}

function fillSlider(label, offered) {
  const input = label.querySelector("input");
  const { minimum, maximum, default: value } = offered[input.name];
  Object.assign(input, { min: minimum, max: maximum, value });
  const show = () => (label.querySelector("output").value = input.value);
  input.addEventListener("input", show);
  show();
}

function offerCanvases(into, across, down, chosen) {
  const falling = (sides) => [...sides].sort((a, b) => b - a);
  const largest = Math.max(...across.enum, ...down.enum);
  for (const width of falling(across.enum)) {
    for (const height of falling(down.enum)) {
      const label = document.createElement("label");
      const input = Object.assign(document.createElement("input"), { type: "radio", name: "canvas", value: `${width}x${height}` });
      const shape = Object.assign(document.createElement("span"), { className: "shape" });
      shape.style.setProperty("width", `${(26 * width) / largest}px`);
      shape.style.setProperty("height", `${(26 * height) / largest}px`);
      label.append(input, shape, `${width} × ${height}`);
      into.append(label);
      input.addEventListener("change", () => chosen({ width, height }));
      input.checked = width === across.default && height === down.default;
      if (input.checked) chosen({ width, height });
    }
  }
}
