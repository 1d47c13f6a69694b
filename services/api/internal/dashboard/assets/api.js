// Asking the service. A key is asked for once, when the service wants one, and kept in
// this tab.
const slot = "weir.key";
const form = document.getElementById("ask");
let asking = null;

export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `The service answered ${status}.`);
    this.status = status;
    this.faults = (body.errors || []).map((e) => e.message).join("; ");
  }
}

export async function ask(path, parameters = [], { method = "GET", signal } = {}) {
  for (;;) {
    const key = givenKey();
    const query = new URLSearchParams(parameters).toString();
    const answer = await reach(path + (query && "?" + query), {
      method, signal, headers: key ? { Authorization: "Bearer " + key } : {},
    });
    if (answer.ok) return answer.json();
    if (answer.status === 401 || (answer.status === 403 && key)) {
      // An answer to an older key says nothing of the one given meanwhile.
      if (givenKey() === key) await askForKey(answer.status === 403);
      continue;
    }
    throw new Problem(answer.status, await answer.json().catch(() => ({})));
  }
}

// reach asks once more when there was no answer at all: a browser drops what is under way
// when the machine changes its network.
async function reach(address, options) {
  try {
    return await fetch(address, options);
  } catch (e) {
    if (options.signal?.aborted) throw e;
    await new Promise((resolve) => setTimeout(resolve, 500));
    return fetch(address, options);
  }
}

// askForKey shows the form, once for all who wait.
function askForKey(wrong) {
  if (wrong || !asking) {
    document.getElementById("ask-fault").textContent = wrong ? "The service does not know this key." : "";
  }
  asking ||= new Promise((resolve) => {
    form.hidden = false;
    document.getElementById("key").focus();
    form.onsubmit = (event) => {
      event.preventDefault();
      sessionStorage.setItem(slot, document.getElementById("key").value);
      form.hidden = true;
      asking = null;
      resolve();
    };
  });
  return asking;
}

export const givenKey = () => sessionStorage.getItem(slot); // null while none was
