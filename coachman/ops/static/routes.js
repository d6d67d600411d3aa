// The routes of the last minute, by the difference of two readings of the counters, which never fall.

import { element, keyed, make, setText } from "./dom.js";
import { duration, NONE, number } from "./format.js";

const WINDOW_SECONDS = 61;
const HEADINGS = [
  ["Route"], ["Req/s"], ["4xx", "of all its requests in the last minute"], ["5xx", "of all its requests in the last minute"],
  ["p50"], ["p95"], ["p99"], ["Requests", "since the service was started"], ["Answered by", "a compiled function, or FastAPI's own code"],
];
const readings = [];

export function showRoutes(traffic) {
  const section = element("routes").closest("section");
  section.hidden = !traffic || traffic.routes.length === 0;
  if (!traffic) return;
  const newest = readings[readings.length - 1];
  if (newest && newest.read_at === traffic.read_at) return;
  readings.push(traffic);
  while (readings.length > 2 && traffic.read_at - readings[0].read_at > WINDOW_SECONDS) readings.shift();
  heading();
  const rows = between(readings[0], traffic);
  const seconds = Math.round(traffic.read_at - readings[0].read_at);
  setText("routes-note", `${seconds ? `The last ${seconds} s` : "The first reading"}, read every 5 s${traffic.routes_left_out ? `; ${traffic.routes_left_out} more are not shown` : ""}`);
  keyed(element("routes").tBodies[0], rows, (row) => `${row.method} ${row.route}`, create, fill);
}

export function between(first, last) {
  const seconds = last.read_at - first.read_at;
  const before = new Map(first.routes.map((row) => [`${row.method} ${row.route}`, row]));
  const rows = last.routes.map((row) => {
    const old = before.get(`${row.method} ${row.route}`) || { requests: 0, errors: 0, failures: 0, buckets: row.buckets.map(() => 0) };
    if (!seconds) return { ...row, rate: null, errorPart: null, failurePart: null, durations: [] };
    const count = row.requests - old.requests;
    return {
      ...row,
      rate: count / seconds,
      errorPart: count ? (row.errors - old.errors) / count : null,
      failurePart: count ? (row.failures - old.failures) / count : null,
      durations: row.buckets.map((bucket, index) => bucket - old.buckets[index]),
      bounds: last.bounds,
    };
  });
  return rows.sort((a, b) => (b.rate || 0) - (a.rate || 0) || b.requests - a.requests);
}

// As traffic_table.percentile and Prometheus's histogram_quantile do it.
export function percentile(buckets, bounds, part) {
  const total = buckets.reduce((sum, count) => sum + count, 0);
  if (!(total > 0)) return null;
  let below = 0;
  for (let index = 0; index < buckets.length; index += 1) {
    if (buckets[index] && below + buckets[index] >= part * total) {
      const low = index ? bounds[index - 1] : 0;
      const high = index < bounds.length ? bounds[index] : low;
      return low + ((high - low) * (part * total - below)) / buckets[index];
    }
    below += buckets[index];
  }
  return bounds[bounds.length - 1];
}

function heading() {
  const row = element("routes").tHead.rows[0];
  if (row.children.length) return;
  row.append(...HEADINGS.map(([text, title]) => make("th", { scope: "col", ...(title ? { title } : {}) }, text)));
}

const create = () => make("tr", {}, make("th", { scope: "row" }), ...HEADINGS.slice(1).map(([label]) => make("td", { "data-label": label })));

function fill(line, row) {
  const part = (value) => (value === null ? NONE : value && value < 0.001 ? "< 0.1 %" : `${number(value * 100, value && value < 0.1 ? 1 : 0)} %`);
  const percentiles = [0.5, 0.95, 0.99].map((one) => duration(percentile(row.durations, row.bounds, one)));
  const by = row.compiled === null ? NONE : row.compiled ? "compiled" : "FastAPI";
  const texts = [
    row.route === "unmatched" ? `${row.method} (no route)` : `${row.method} ${row.route}`, number(row.rate, row.rate < 10 ? 1 : 0),
    part(row.errorPart), part(row.failurePart), ...percentiles, number(row.requests), by,
  ];
  texts.forEach((text, index) => {
    setText(line.children[index], text);
    line.children[index].classList.toggle("none", text === NONE);
  });
  line.children[2].classList.toggle("warn", row.errorPart > 0);
  line.children[3].classList.toggle("bad", row.failurePart > 0);
  line.lastChild.title = row.reason;
}
