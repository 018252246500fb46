// The request as code that runs as it stands. The key comes from the environment and the picture from its file,
// so neither is in what is copied.

const inShell = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/** `fields` are all of the body but the image; `file` is the picture's name; `url` the v1 address. */
export function snippet(language, { url, file, fields, note }) {
  const lines = { curl, python, javascript }[language](url, file, fields);
  const mark = language === "javascript" ? "//" : "#";
  return (note ? `${mark} ${note}\n` : "") + lines;
}

function curl(url, file, fields) {
  const rest = `", ${JSON.stringify(fields).slice(1)}`;
  return `{ printf '{"image": "'; base64 < ${inShell(file)} | tr -d '\\n'; printf '%s' ${inShell(rest)}; } |
curl --fail-with-body ${inShell(url)} \\
  -H "x-api-key: $OUTPAINT_API_KEY" -H 'content-type: application/json' \\
  --data-binary @- --output outpainted.jpg
`;
}

function python(url, file, fields) {
  const body = Object.entries(fields).map(([name, value]) => `    ${JSON.stringify(name)}: ${JSON.stringify(value)},\n`);
  return `import base64, json, os, urllib.request

body = {
    "image": base64.b64encode(open(${JSON.stringify(file)}, "rb").read()).decode(),
${body.join("")}}
request = urllib.request.Request(
    ${JSON.stringify(url)},
    json.dumps(body).encode(),
    {"x-api-key": os.environ["OUTPAINT_API_KEY"], "content-type": "application/json"},
)
with urllib.request.urlopen(request) as answer, open("outpainted.jpg", "wb") as picture:
    picture.write(answer.read())
`;
}

function javascript(url, file, fields) {
  const body = Object.entries(fields).map(([name, value]) => `  ${name}: ${JSON.stringify(value)},\n`);
  return `import { readFile, writeFile } from "node:fs/promises";

const body = {
  image: (await readFile(${JSON.stringify(file)})).toString("base64"),
${body.join("")}};
const answer = await fetch(${JSON.stringify(url)}, {
  method: "POST",
  headers: { "x-api-key": process.env.OUTPAINT_API_KEY, "content-type": "application/json" },
  body: JSON.stringify(body),
});
if (!answer.ok) throw new Error((await answer.json()).error);
await writeFile("outpainted.jpg", Buffer.from(await answer.arrayBuffer()));
`;
}
