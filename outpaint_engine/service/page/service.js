// The service's v2: submit, poll, fetch, cancel. Every failure is an Error with one sentence for people.

const POLL_MS = 400;
const PATIENCE = 5;

export class Service {
  /** `key` is a function that gives the API key as it is now. */
  constructor(key) {
    this.key = key;
  }

  static async settings() {
    return (await answered(fetch("/page/settings.json"))).json();
  }

  /** Queue a request; its id. */
  async submit(model, body, signal) {
    const asked = this.#ask(`/v2/${model}`, { method: "POST", body: JSON.stringify(body), signal });
    return (await (await answered(asked)).json()).request_id;
  }

  /** Call `seen` with each status until the request has ended; the result's facts and its picture as a blob. */
  async finished(id, seen, signal) {
    let failures = 0;
    for (;;) {
      try {
        const status = await this.#status(id, signal);
        failures = 0;
        seen(status);
        if (status.status === "COMPLETED") break;
      } catch (error) {
        // A phone that changes networks loses a poll or two; the request goes on meanwhile.
        if (!error.unreachable || ++failures >= PATIENCE) throw error;
      }
      await pause(POLL_MS, signal);
    }
    const facts = await (await answered(this.#ask(`/v2/requests/${id}`, { signal }))).json();
    const [picture, report] = await Promise.all([facts.output, facts.quality_report].map((url) => answered(this.#ask(ownPath(url), { signal }))));
    return { ...facts, report: await report.json(), picture: await picture.blob() };
  }

  async cancel(id) {
    await answered(this.#ask(`/v2/requests/${id}`, { method: "DELETE" }));
  }

  async #status(id, signal) {
    return (await answered(this.#ask(`/v2/requests/${id}/status?preview=true`, { signal }))).json();
  }

  #ask(path, options) {
    return fetch(path, { ...options, headers: { "x-api-key": this.key(), "content-type": "application/json" } });
  }
}

// The server writes its configured public address; the page stays on the address that it was opened by.
function ownPath(url) {
  const { pathname, search } = new URL(url, location.href);
  return pathname + search;
}

async function answered(asking) {
  let answer;
  try {
    answer = await asking;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw Object.assign(new Error("The server cannot be reached."), { unreachable: true });
  }
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  throw Object.assign(new Error(body.error || `The server answered ${answer.status}.`), { status: answer.status });
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
  });
}
