// The live feed: keeps the last hour's counts as the service tells them, and comes back
// by itself, where it left off.
import { ask, givenKey } from "/assets/api.js";

const wants = "dimensions=path,referrer,country,device&events=5";

export class Live {
  constructor(on) {
    this.on = on; // {state(name), numbers(live), top(dimension, list), events(list)}
    this.minutes = new Map(); // "minute type" -> [time, events]
    this.totals = null;
    this.place = null;
    this.failures = 0;
    this.arrivals = []; // [when, events] of deltas, for the rate
    this.resuming = false; // while what was missed is told
    this.open();
  }

  async open() {
    this.on.state("connecting");
    let query = wants;
    this.resuming = this.place !== null;
    if (this.place) query += `&epoch=${this.place.epoch}&seq=${this.place.seq}`;
    try {
      // Browsers cannot send a key with a WebSocket; a ticket stands for it, once.
      if (givenKey() !== null) query += "&ticket=" + encodeURIComponent((await ask("/v1/live/tickets", [], { method: "POST" })).ticket);
    } catch {
      return this.again();
    }
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/v1/live?${query}`);
    socket.onmessage = (e) => this.hear(JSON.parse(e.data));
    socket.onclose = () => this.again();
    // Silence for longer than two heartbeats and some is a dead connection.
    this.watch = () => { clearTimeout(this.silence); this.silence = setTimeout(() => socket.close(), 45_000); };
    this.watch();
  }

  again() {
    clearTimeout(this.silence);
    this.on.state("connecting");
    const wait = Math.min(15_000, 500 * 2 ** this.failures++) * (0.5 + Math.random() / 2);
    setTimeout(() => this.open(), wait);
  }

  hear(m) {
    this.failures = 0;
    this.watch();
    switch (m.type) {
      case "stale": this.on.state("stale"); return;
      case "top": this.on.top(m.dimension, m.top); return;
      case "events": this.on.events(m.events); return;
      case "snapshot": this.arrivals = []; this.resuming = false; break;
      case "delta": if (!this.resuming) this.arrivals.push([performance.now(), m.minutes.reduce((n, c) => n + c.events, 0)]); break;
      case "heartbeat": this.resuming = false; break;
      default: return;
    }
    if (m.epoch) this.place = { epoch: m.epoch, seq: m.seq };
    this.totals = m.totals;
    this.on.state("live");
    this.on.numbers(this);
  }

  // rate is in events a second, over the last ten.
  rate() {
    const since = performance.now() - 10_000;
    while (this.arrivals.length && this.arrivals[0][0] < since) this.arrivals.shift();
    return this.arrivals.reduce((n, [, events]) => n + events, 0) / 10;
  }
}
