// The page: settings from the server, a picture from the visitor, one request at a time.

import { asDataUrl, openPicture } from "./picture.js";
import { Service } from "./service.js";
import { snippet } from "./snippets.js";
import { Stage } from "./stage.js";

const KEY = "outpaint-key";
const find = (id) => document.getElementById(id);
const form = find("form");
const settings = await Service.settings().catch((error) => {
  complain(error);
  throw error;
});
const limits = { scale: [settings.fields.scale.minimum, settings.fields.scale.maximum], offset: settings.fields.offset_x.maximum };
const service = new Service(() => find("key").value.trim());
const stage = new Stage(find("stage"), limits, showPlacement);
let picture = null;
let running = null;
let result = null;

fillForm();
listen();
become("empty");

function fillForm() {
  for (const name of settings.fields.scheduler.enum) form.elements.scheduler.add(new Option(name));
  form.elements.scheduler.value = settings.fields.scheduler.default;
  for (const label of form.querySelectorAll(".slide")) {
    const input = label.querySelector("input");
    const field = settings.fields[input.name];
    Object.assign(input, { min: field.minimum, max: field.maximum, value: field.default });
    const show = () => (label.querySelector("output").value = input.value);
    input.addEventListener("input", show);
    show();
  }
  for (const [id, field] of [["offset_x", "offset_x"], ["offset_y", "offset_y"], ["scale", "scale"]]) {
    Object.assign(find(id), { min: settings.fields[field].minimum, max: settings.fields[field].maximum });
  }
  find("prompt").maxLength = form.elements.negative_prompt.maxLength = settings.fields.prompt.maxLength;
  find("key").value = sessionStorage.getItem(KEY) ?? "";
  offerCanvases();
}

function offerCanvases() {
  const sides = [settings.fields.img_width.enum, settings.fields.img_height.enum];
  const largest = Math.max(...sides.flat());
  for (const width of sides[0].toSorted((a, b) => b - a)) {
    for (const height of sides[1].toSorted((a, b) => b - a)) {
      const label = document.createElement("label");
      const input = Object.assign(document.createElement("input"), { type: "radio", name: "canvas", value: `${width}x${height}` });
      const shape = Object.assign(document.createElement("span"), { className: "shape" });
      shape.style.setProperty("width", `${(26 * width) / largest}px`);
      shape.style.setProperty("height", `${(26 * height) / largest}px`);
      input.checked = width === settings.fields.img_width.default && height === settings.fields.img_height.default;
      input.addEventListener("change", () => useCanvas(width, height));
      label.append(input, shape, `${width} × ${height}`);
      find("canvases").append(label);
      if (input.checked) stage.resize({ width, height });
    }
  }
}

function useCanvas(width, height) {
  if (document.body.dataset.state === "done") become("placing");
  stage.resize({ width, height });
}

function listen() {
  find("choose").addEventListener("click", () => find("file").click());
  find("other").addEventListener("click", () => find("file").click());
  find("file").addEventListener("change", ({ target }) => take(target.files[0]));
  find("sample").addEventListener("click", async () => take(await sample()));
  addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("over"); });
  addEventListener("dragleave", (event) => event.relatedTarget ?? document.body.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    take(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => event.clipboardData.files.length && take(event.clipboardData.files[0]));
  find("size").addEventListener("input", ({ target }) => (stage.percent = Number(target.value)));
  find("centre").addEventListener("click", () => stage.centre());
  for (const [id, name] of [["offset_x", "x"], ["offset_y", "y"], ["scale", "scale"]]) {
    find(id).addEventListener("change", ({ target }) => stage.place && stage.set({ ...stage.place, [name]: Number(target.value) }));
  }
  find("key").addEventListener("input", ({ target }) => sessionStorage.setItem(KEY, target.value.trim()));
  form.addEventListener("input", showCode);
  form.addEventListener("submit", (event) => { event.preventDefault(); run(); });
  form.addEventListener("keydown", (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && form.requestSubmit());
  find("cancel").addEventListener("click", cancel);
  find("compare").addEventListener("input", ({ target }) => cutAt(Number(target.value)));
  find("stage").addEventListener("pointermove", (event) => event.buttons & 1 && slide(event));
  find("stage").addEventListener("pointerdown", slide);
  find("back").addEventListener("click", () => { become("placing"); find("stage").focus(); });
  find("further").addEventListener("click", () => take(new File([result.picture], "outpainted.jpg", { type: "image/jpeg" })));
  find("keep-seed").addEventListener("click", () => { form.elements.seed.value = result.seed; find("keep-seed").hidden = true; });
  for (const button of document.querySelectorAll("[data-language]")) {
    button.addEventListener("click", () => copy(button));
  }
}

async function sample() {
  const answer = await fetch("/page/sample.webp");
  return new File([await answer.blob()], "sample.webp", { type: "image/webp" });
}

/** Open a picture and lay it on the canvas. */
async function take(file) {
  if (!file || running) return;
  try {
    picture = await openPicture(file, settings);
  } catch (error) {
    complain(error);
    return;
  }
  complain(null);
  const old = stage.picture.src;
  stage.show(URL.createObjectURL(picture.blob), picture);
  if (old) URL.revokeObjectURL(old);
  become("placing");
  (find("prompt").value ? find("stage") : find("prompt")).focus({ preventScroll: true });
}

/** The request's fields but for the image. */
function fields() {
  const [img_width, img_height] = form.elements.canvas.value.split("x").map(Number);
  const number = (name) => Number(form.elements[name].value);
  return {
    prompt: form.elements.prompt.value,
    ...(form.elements.negative_prompt.value && { negative_prompt: form.elements.negative_prompt.value }),
    scheduler: form.elements.scheduler.value,
    num_inference_steps: number("num_inference_steps"),
    img_width,
    img_height,
    scale: stage.place.scale,
    offset_x: stage.place.x,
    offset_y: stage.place.y,
    strength: number("strength"),
    guidance_scale: number("guidance_scale"),
    mask_expand: number("mask_expand"),
    seed: form.elements.seed.value === "" ? -1 : number("seed"),
  };
}

async function run() {
  if (!picture || running) return;
  if (!find("key").value.trim()) {
    complain(new Error("Enter an API key first."));
    find("key").focus();
    return;
  }
  complain(null);
  running = { id: null, leave: new AbortController() };
  become("running");
  say("Sending the picture…");
  find("stage").scrollIntoView({ block: "nearest" });
  try {
    const { signal } = running.leave;
    const body = { image: await asDataUrl(picture.blob), ...fields() };
    running.id = await service.submit(settings.model, body, signal);
    result = await service.finished(running.id, showProgress, signal);
    running = null;
    showResult();
  } catch (error) {
    running = null;
    become("placing");
    if (error.name === "AbortError") say("Cancelled. Nothing was charged.");
    else complain(error);
    if (error.status === 401) find("key").focus();
  }
}

async function cancel() {
  const { id, leave } = running;
  find("cancel").disabled = true;
  try {
    if (id) await service.cancel(id);
    leave.abort();
  } catch (error) {
    // It ended a moment ago: its result is on the way.
    if (error.status !== 409) complain(error);
  }
}

function showProgress({ status, progress }) {
  const bar = find("progress");
  if (status === "QUEUED") {
    bar.removeAttribute("value");
    say("Waiting for its turn…");
    return;
  }
  bar.max = progress.steps || 1;
  bar.value = progress.step;
  say(progress.step ? `Painting: step ${progress.step} of ${progress.steps}` : "Painting…");
  if (progress.preview) {
    find("preview").src = progress.preview;
    find("preview").hidden = false;
  }
}

function showResult() {
  const shown = find("result");
  if (shown.src) URL.revokeObjectURL(shown.src);
  shown.src = find("download").href = URL.createObjectURL(result.picture);
  const { inference_time, cost, remaining_credits } = result.metrics;
  const notes = (result.report.notes ?? []).map((note) => ` · ${note}`).join("");
  find("facts").textContent = `${inference_time.toFixed(1)} s · ${cost} credits, ${remaining_credits} left · seed ${result.seed}${notes}`;
  find("keep-seed").hidden = form.elements.seed.value === String(result.seed);
  become("done");
  say("Done.");
  find("stage").scrollIntoView({ block: "nearest" });
  reveal();
}

/** Uncover the result from left to right, once; at once for who asked for less motion. */
function reveal() {
  const begin = performance.now();
  const length = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 900;
  const step = (now) => {
    const share = length ? Math.min(1, (now - begin) / length) : 1;
    cutAt(100 * (1 - (1 - share) ** 3));
    if (share < 1 && document.body.dataset.state === "done") requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
  find("compare").focus({ preventScroll: true });
}

/** Show the result left of `percent` of the width, and the picture before it on the right. */
function cutAt(percent) {
  find("compare").value = percent;
  find("stage").style.setProperty("--cut", `${percent}%`);
}

function slide(event) {
  if (document.body.dataset.state !== "done") return;
  const box = find("stage").getBoundingClientRect();
  cutAt(Math.min(100, Math.max(0, (100 * (event.clientX - box.left)) / box.width)));
}

/** empty, placing, running or done: what is shown and what can be used follows from this word. */
function become(state) {
  document.body.dataset.state = state;
  stage.locked = state !== "placing";
  find("empty").hidden = state !== "empty";
  find("picture").hidden = state === "empty";
  find("result").hidden = state !== "done";
  find("running").hidden = find("cancel").hidden = state !== "running";
  find("cancel").disabled = false;
  find("run").hidden = state === "running";
  find("run").disabled = !picture;
  find("run").textContent = state === "done" ? "Paint again" : "Paint";
  if (state !== "running") find("preview").hidden = true;
  else find("progress").removeAttribute("value");
  if (state !== "done") say(state === "empty" ? "" : `One picture costs ${settings.price} credits.`);
  find("stage").setAttribute("aria-label", { done: "Before and after" }[state] ?? "Picture on the canvas");
  showCode();
}

function showPlacement() {
  const { scale, x, y } = stage.place;
  find("size").value = stage.percent;
  find("offset_x").value = x;
  find("offset_y").value = y;
  find("scale").value = scale;
  const [width, height] = [picture.width, picture.height].map((side) => Math.round(side * scale));
  find("where").textContent = `${width} × ${height} px at ${x}, ${y} on ${stage.canvas.width} × ${stage.canvas.height}`;
  showCode();
}

function code(language) {
  const { name, width, height, changed } = picture;
  const note = changed ? `The page made ${name} ${width}x${height} before sending; do the same, or adapt scale.` : "";
  return snippet(language, { url: `${location.origin}/v1/${settings.model}`, file: name, fields: fields(), note });
}

function showCode() {
  find("code").hidden = !picture;
  if (picture) find("snippet").textContent = code(find("snippet").dataset.language ?? "curl");
}

async function copy(button) {
  find("snippet").dataset.language = button.dataset.language;
  showCode();
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(find("snippet").textContent);
  } catch {
    // Without TLS, or where the visitor said no: the older way.
    getSelection().selectAllChildren(find("snippet"));
    document.execCommand("copy");
  }
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = label), 1200);
}

function say(sentence) {
  find("said").textContent = sentence;
}

function complain(error) {
  find("wrong").textContent = error?.message ?? "";
}
