// What is drawn by hand: text, lists with bars, and the chart.
const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
export const number = (n) => whole.format(n);

export function element(name, attributes = {}, ...children) {
  const e = document.createElement(name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

function svg(name, attributes = {}, ...children) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

// bars lists [name, number, note] with a bar for each.
export function bars(into, rows, empty) {
  if (!rows.length) return into.replaceChildren(element("p", { class: "empty" }, empty));
  const most = Math.max(1, ...rows.map((r) => r[1]));
  into.replaceChildren(element("ol", {}, ...rows.map(([name, n, note]) => {
    const bar = element("i", { "aria-hidden": "true" });
    bar.style.width = (100 * n) / most + "%";
    const figure = element("b", {}, number(n));
    if (note) figure.append(element("small", {}, " " + note));
    return element("li", {}, bar, element("span", { title: name }, name), figure);
  })));
}

// chart stacks the series of a time series' answer.
export function chart(into, table, answer, label) {
  const series = answer.series.filter((s, i) => s.events > 0 || i === 0); // nothing else, no "all else"
  const times = series[0]?.points.map((p) => p.time) ?? [];
  const name = (s) => (s.other && s.events ? "All else" : s.other || s.group === "" || s.group == null ? "Events" : s.group);
  const look = (s, i) => "s" + (s.other ? 5 : i % 5);
  const w = Math.max(280, into.clientWidth || 800), h = 280, left = 44, bottom = 24, top = 8;
  const sums = times.map((_, t) => series.reduce((n, s) => n + s.points[t].events, 0));
  const most = nice(Math.max(1, ...sums));
  const x = (t) => left + ((w - left) * t) / times.length;
  const y = (n) => top + (h - top - bottom) * (1 - n / most);
  const picture = svg("svg", { viewBox: `0 0 ${w} ${h}`, role: "img", "aria-label": `Events over time: ${number(sums.reduce((a, b) => a + b, 0))} in all, at most ${number(Math.max(0, ...sums))} in one ${answer.meta.interval}. The table below has all numbers.` });
  for (let i = 0; i <= 4; i++) {
    const n = (most * i) / 4;
    picture.append(svg("line", { class: "grid", x1: left, x2: w, y1: y(n), y2: y(n) }), svg("text", { x: left - 8, y: y(n) + 4, "text-anchor": "end" }, short.format(n)));
  }
  const each = Math.max(1, Math.ceil(times.length / Math.max(2, Math.floor((w - left) / 90))));
  const gap = Math.min(2, ((w - left) / times.length) * 0.2);
  times.forEach((time, t) => {
    let below = 0;
    series.forEach((s, i) => {
      const n = s.points[t].events;
      if (!n) return;
      picture.append(svg("rect", { class: look(s, i), x: x(t) + gap / 2, y: y(below + n), width: Math.max(0.5, x(1) - x(0) - gap), height: Math.max(0.5, y(below) - y(below + n)) }));
      below += n;
    });
    if (t % each === 0) picture.append(svg("text", { x: x(t), y: h - 6 }, label(time)));
    const tip = [label(time, true), ...series.map((s) => `${name(s)}: ${number(s.points[t].events)}`)].join("\n");
    picture.append(svg("rect", { class: "hover", x: x(t), y: top, width: x(1) - x(0), height: h - top - bottom }, svg("title", {}, tip)));
  });
  const legend = element("ul", { class: "legend" }, ...series.map((s, i) => element("li", {}, element("i", { class: look(s, i), "aria-hidden": "true" }), name(s))));
  into.replaceChildren(picture, legend);
  const rows = times.map((time, t) => element("tr", {}, element("th", { scope: "row" }, label(time, true)), ...series.map((s) => element("td", { class: "n" }, number(s.points[t].events)))));
  table.replaceChildren(element("table", {}, element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "Time"), ...series.map((s) => element("th", { scope: "col", class: "n" }, name(s))))), element("tbody", {}, ...rows.reverse())));
}

// nice is a round number that is n at least, and whose quarters are whole.
function nice(n) {
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(n / 4)));
  return [4, 8, 12, 16, 20, 24, 32, 40].map((m) => m * unit).find((m) => m >= n);
}
