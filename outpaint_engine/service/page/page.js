// The page: settings from the server, a picture from the visitor, one request at a time.

import { Compare } from "./compare.js";
import { fillForm, readForm } from "./form.js";
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
// What the visitor chose (picture.js), the request under way, and the last result.
let picture = null;
let running = null;
let result = null;

const compare = new Compare(find("stage"), find("compare"), () => document.body.dataset.state === "done");

find("key").value = sessionStorage.getItem(KEY) ?? "";
fillForm(form, settings.fields, useCanvas);
listen();
become("empty");

function useCanvas(canvas) {
  if (document.body.dataset.state === "done") become("placing");
  stage.resize(canvas);
}

function listen() {
  find("choose").addEventListener("click", () => find("file").click());
  find("other").addEventListener("click", () => find("file").click());
  find("file").addEventListener("change", async ({ target }) => {
    await take(target.files[0]);
    target.value = ""; // so that the same file can be chosen again
  });
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
    find(id).addEventListener("change", ({ target }) => stage.set({ ...stage.place, [name]: Number(target.value) }));
  }
  find("key").addEventListener("input", ({ target }) => sessionStorage.setItem(KEY, target.value.trim()));
  form.addEventListener("input", showCode);
  form.addEventListener("submit", (event) => { event.preventDefault(); run(); });
  form.addEventListener("keydown", (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && form.requestSubmit());
  find("cancel").addEventListener("click", cancel);
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

async function run() {
  if (!picture || running) return;
  if (!find("key").value.trim()) {
    complain(new Error("Enter an API key first."));
    find("key").focus();
    return;
  }
  complain(null);
  const mine = (running = { id: null, leave: new AbortController(), cancelled: false });
  become("running");
  say("Sending the picture…");
  find("stage").scrollIntoView({ block: "nearest" });
  find("stage").focus({ preventScroll: true });
  try {
    const { signal } = mine.leave;
    const body = { image: await asDataUrl(picture.blob), ...readForm(form, stage.place) };
    mine.id = await service.submit(settings.model, body, signal);
    find("cancel").disabled = false;
    result = await service.finished(mine.id, showProgress, signal);
    running = null;
    showResult();
  } catch (error) {
    running = null;
    become("placing");
    if (mine.cancelled) say("Cancelled. Nothing was charged.");
    else complain(error);
    find(error.status === 401 ? "key" : "run").focus();
  }
}

async function cancel() {
  const mine = running;
  find("cancel").disabled = mine.cancelled = true;
  try {
    await service.cancel(mine.id);
    mine.leave.abort();
  } catch (error) {
    mine.cancelled = false;
    // 409: it ended a moment ago, and its result is on the way.
    if (error.status !== 409) complain(error);
    find("cancel").disabled = false;
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
  compare.reveal();
}

/** empty, placing, running or done: what is shown and what can be used follows from this word. */
function become(state) {
  document.body.dataset.state = state;
  stage.locked = state !== "placing";
  find("empty").hidden = state !== "empty";
  find("picture").hidden = state === "empty";
  find("result").hidden = state !== "done";
  find("running").hidden = find("cancel").hidden = state !== "running";
  // Until the server has named the request there is nothing to cancel, and what was accepted is charged.
  find("cancel").disabled = true;
  find("canvases").disabled = state === "running";
  for (const id of ["offset_x", "offset_y", "scale"]) find(id).disabled = state !== "placing";
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
  return snippet(language, { url: `${location.origin}/v1/${settings.model}`, file: name, fields: readForm(form, stage.place), note });
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
