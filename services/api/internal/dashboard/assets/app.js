// The page: what is asked when, and where the answers go. Each panel asks for itself,
// and shows its own failure.
import { ask, givenKey } from "/assets/api.js";
import { Live } from "/assets/live.js";
import { bars, chart, element, number } from "/assets/draw.js";

const $ = (id) => document.getElementById(id);
const ranges = {
  "1h": [3600, "minute", "in the last hour"], "24h": [86400, "hour", "in the last 24 hours"],
  "7d": [7 * 86400, "hour", "in the last 7 days"], "30d": [30 * 86400, "day", "in the last 30 days"],
};
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

// --- light and dark

const dark = matchMedia("(prefers-color-scheme: dark)");
function paint() {
  const theme = localStorage.getItem("weir.theme") || (dark.matches ? "dark" : "light");
  document.documentElement.dataset.theme = theme;
  $("theme").setAttribute("aria-pressed", theme === "dark");
}
dark.addEventListener("change", paint);
$("theme").onclick = () => {
  localStorage.setItem("weir.theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  paint();
};
paint();

// --- questions about the range

// Longer ranges begin with an hour: counts by minute may be kept for fewer days than the
// page shows.
function span() {
  const [seconds, interval, words] = ranges[$("range").value];
  const from = new Date(Date.now() - seconds * 1000);
  if (interval !== "minute") from.setUTCMinutes(0, 0, 0);
  return { between: [["from", from.toISOString()]], interval, words };
}

function label(time, whole) {
  const at = new Date(time);
  const short = $("range").value === "1h" || $("range").value === "24h";
  const form = whole ? { dateStyle: "medium", timeStyle: "short" } : short ? { timeStyle: "short" } : { day: "numeric", month: "short" };
  return new Intl.DateTimeFormat("en-GB", { ...form, timeZone: zone }).format(at);
}

// panel is a question: it shows what f makes of the answer, or why there is none. Once the
// signal has ended it shows nothing.
const panel = (into, f) => async (signal) => {
  try {
    await f((path, parameters) => ask(path, parameters, { signal }));
  } catch (e) {
    if (!signal.aborted) into.replaceChildren(element("p", { class: "fault", role: "status" }, `Not available: ${e.faults || e.message}`));
  }
};

let drawn = null;
function redraw() { if (drawn) chart($("chart"), $("chart-table"), drawn, label); }

const questions = {
  summary: panel($("users"), async (get) => {
    const { between, words } = span();
    const s = await get("/v1/metrics/summary", between);
    $("range-events").textContent = number(s.events);
    $("users").textContent = number(s.users);
    for (const e of document.querySelectorAll("[data-range]")) e.textContent = words;
  }),
  series: panel($("chart"), async (get) => {
    const { between, interval } = span();
    const parameters = [...between, ["interval", interval], ["timezone", zone]];
    if ($("group").value) parameters.push(["group_by", $("group").value], ["limit", "5"]);
    drawn = await get("/v1/metrics/timeseries", parameters);
    redraw();
  }),
  funnel: panel($("funnel"), async (get) => {
    const steps = ["page_view", "add_to_cart", "purchase"];
    const f = await get("/v1/funnel", [...span().between, ["window", "1d"], ...steps.map((s) => ["step", `type is "${s}"`])]);
    bars($("funnel"), f.steps.map((s, i) => [["View", "Add to cart", "Buy"][i], s.users, `${Math.round(100 * s.of_first)}%`]), "Nobody yet.");
  }),
  status: panel($("status"), async (get) => {
    const s = await get("/v1/status");
    $("status").replaceChildren(element("dl", {}, ...health(s).flatMap(([k, v]) => [element("dt", {}, k), element("dd", {}, v)])));
  }),
};
for (const by of ["path", "referrer", "country", "device"]) {
  questions[by] = panel($("top-" + by), async (get) => {
    const t = await get("/v1/metrics/top", [...span().between, ["by", by], ["limit", "8"]]);
    bars($("top-" + by), t.items.map((i) => [i.name, i.events, `${Math.round(100 * i.share)}%`]), "No event has one yet.");
  });
}

// health is what the status says to whoever watches the pipeline, most urgent first.
function health({ version, stream, stored, servers }) {
  const waiting = stream.error ? [["Stream", stream.error]] : [
    ["Waiting", `${number(stream.events)} events`],
    ["Oldest of them", `${stream.age_seconds.toFixed(1)} s`],
    ["All stored up to", stream.stored_through ? label(stream.stored_through, true) : "–"],
  ];
  const dead = Object.values(stored.dead_letters).reduce((sum, n) => sum + n, 0);
  if (stored.error) return [...waiting, ["Database", stored.error], ["Redis", servers.redis ?? "–"]];
  return [
    ...waiting,
    ["Last flush", stored.last_flush ? label(stored.last_flush, true) : "–"],
    ["Events a second, last minute", number(Math.round(stored.events_per_second))],
    ["Dead letters", number(dead) + (stored.dead_letters_more ? " or more" : "")],
    ["Database", `${number(Math.round(stored.bytes.database / 2 ** 20))} MiB`],
    ...(servers.replica ? [["Replica behind", `${(servers.replica_lag_seconds ?? 0).toFixed(1)} s`]] : []),
    ["TimescaleDB", `${servers.timescaledb}, ${servers.edition}`],
    ["PostgreSQL", servers.postgresql],
    ["Redis", servers.redis ?? "–"],
    ["Weir", version],
  ];
}

// A question is asked again while the page is looked at: soon after something changed, and
// at least every half minute. But one that is slow is left alone for five times as long as
// it took: of some the service answers few at once, and this page is not the only one.
const rest = 5, longestRest = 10 * 60_000; // a machine may have slept over an answer
const times = {}; // of each question: when it was asked, and from when on it may be again
let changed = 0; // when something last did
let selection = new AbortController(); // ends with what is selected

async function pose(name) {
  const { signal } = selection, key = givenKey(), asked = performance.now();
  times[name] = { asked, free: Infinity }; // not while it is being answered
  await questions[name](signal);
  if (signal.aborted) return; // it has been asked anew
  const now = performance.now();
  const took = givenKey() === key ? now - asked : 0; // else somebody had to type it first
  times[name].free = now + Math.min(rest * took, longestRest);
}

const poseAll = () => Promise.all(Object.keys(questions).map(pose));

setInterval(() => {
  if (document.hidden) return;
  const now = performance.now();
  for (const [name, { asked, free }] of Object.entries(times)) {
    if (now > free && now - asked > (changed > asked ? 5_000 : 30_000)) pose(name);
  }
}, 1_000);
for (const id of ["range", "group"]) {
  $(id).onchange = () => {
    selection.abort();
    selection = new AbortController();
    poseAll();
  };
}
$("controls").onsubmit = (e) => e.preventDefault();
new ResizeObserver(redraw).observe($("chart-panel"));

// --- live

const words = { live: "Live", stale: "Not current: the stream is out of reach", connecting: "Connecting" };
let paused = false;
$("pause").onclick = () => {
  paused = !paused;
  $("pause").textContent = paused ? "Go on" : "Pause";
};

function show(events) {
  if (paused) return;
  const body = $("ticker").querySelector("tbody");
  const time = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium", timeZone: zone });
  for (const e of events) {
    const money = e.value === undefined ? "" : `${number(e.value)} ${e.currency ?? ""}`;
    const cells = [time.format(new Date(e.time)), e.type, e.path ?? "", e.country ?? "", e.device ?? ""];
    body.prepend(element("tr", { class: "new" }, ...cells.map((c) => element("td", {}, c)), element("td", { class: "n" }, money)));
  }
  while (body.rows.length > 30) body.lastElementChild.remove();
}

await poseAll(); // asks for the key first, if one is needed
const live = new Live({
  state(name) {
    if ($("state").dataset.state === name && $("state-text").textContent === words[name]) return; // said once
    $("state").dataset.state = name;
    $("state-text").textContent = words[name];
  },
  numbers(l) {
    changed = performance.now();
    $("live-events").textContent = number(l.totals.events);
    $("live-value").textContent = number(l.totals.value);
    $("rate").textContent = number(l.rate());
  },
  top(dimension, list) { changed = performance.now(); if ($("range").value === "1h") bars($("top-" + dimension), list.slice(0, 8).map((v) => [v.name, v.events]), "No event has one yet."); },
  events: show,
});
setInterval(() => { $("rate").textContent = number(live.rate()); }, 1_000);
