// The figures of the last second, and graphs of the last five minutes with what happened in them.

import { element, keyed, make, setText, svg } from "./dom.js";
import { bytes, clock, duration, NONE, number, rate } from "./format.js";
import { draw, SECONDS, SPANS } from "./plot.js";
import { showSaturation } from "./saturation.js";

const KINDS = {
  kill: ["crashed", "boot-failed", "boot-timeout", "blocked-loop", "blocked-pool", "stopped-process", "drain-timeout", "lifespan-ended"],
  handover: ["handed-over"],
  refused: ["refused"],
};
const GRAPHS = [
  { id: "requests", title: "Requests per second", lines: [["accent", (r) => r.requests]], text: (r) => rate(r.requests, r.requests) },
  {
    id: "errors", title: "Errors per second", lines: [["warn", (r) => r.errors], ["bad", (r) => r.failures]], text: (r) => number(r.errors + r.failures, 1),
    notes: (r) => [["warn", `4xx ${number(r.errors, 1)}`], ["bad", `5xx ${number(r.failures, 1)}`]],
  },
  {
    id: "latency", title: "Duration, p99", hint: "99 of 100 requests of the second took no longer", lines: [["third", (r) => r.p99], ["second", (r) => r.p95], ["accent", (r) => r.p50]], text: (r) => duration(r.p99),
    notes: (r) => [["accent", `p50 ${duration(r.p50)}`], ["second", `p95 ${duration(r.p95)}`], ["third", "p99"]], axis: duration,
  },
  { id: "in_flight", title: "In flight, on average", lines: [["accent", (r) => r.in_flight]], text: (r) => number(r.in_flight, 1) },
  { id: "cpu", title: "Cores in use", lines: [["accent", (r) => r.cpu]], text: (r, s) => `${number(r.cpu, 2)} of ${number(s.cpus, s.cpus % 1 ? 1 : 0)}`, axis: (v) => number(v, v < 1 ? 1 : 0) },
  {
    id: "memory", title: "Memory", lines: [["accent", (r) => r.memory || r.rss]], text: (r) => bytes(r.memory || r.rss),
    notes: (r) => [["plain", `${bytes(r.rss)} with shared pages in each`]], axis: bytes, hint: "Shared pages counted once (PSS), the master included; each process is read every 30 s",
  },
  { id: "ready", title: "Workers ready", lines: [["faint", (r) => r.wanted], ["accent", (r) => r.ready]], text: (r) => `${number(r.ready)} of ${number(r.wanted)}`, isWhole: true },
];
const history = new Map(); // second -> record
let snapshot = null;
let chosen = null; // the second that is pointed at, before the newest one
let span = SPANS[0]; // seconds from left to right: no more than there are records for
let isHeld = false; // while paused the graphs stand

export function showGraphs(newest, { isPaused, history: seconds }) {
  for (const second of seconds) history.set(second.time, second);
  for (const moment of history.keys()) if (moment < newest.time - SECONDS - 2 || moment > newest.time + 2) history.delete(moment); // the clock may have been set back
  if (isPaused && isHeld) return;
  isHeld = isPaused;
  snapshot = newest;
  render();
}

function records() {
  const end = snapshot.now ? snapshot.now.time : Math.max(0, ...history.keys());
  return [end, [...history.values()].filter((one) => one.time <= end).sort((a, b) => a.time - b.time)];
}

function render() {
  const [end, all] = records();
  span = SPANS.find((one) => !all.length || end - all[0].time <= one) || SECONDS;
  setText("graphs-title", span === 60 ? "The last minute" : `The last ${span === 120 ? "two" : "five"} minutes`);
  const marks = marksOf(snapshot.events, end);
  const at = chosen === null ? null : nearest(all, end + chosen);
  const shown = at || snapshot.now;
  setText("moment", at ? `${clock(at.time)}${marks.filter((mark) => Math.abs(mark.time - at.time) < 2).map((mark) => ` · ${mark.text}`).join("")}` : "");
  keyed(element("cards"), [...GRAPHS, { id: "saturation" }], (graph) => graph.id, create, (card, graph) => {
    if (graph.id === "saturation") {
      showSaturation(card.lastChild, snapshot);
      return;
    }
    setText(card.querySelector("output"), shown ? graph.text(shown, snapshot) : NONE);
    keyed(card.querySelector(".note-line"), shown && graph.notes ? graph.notes(shown) : [], (note) => note[0], ([name]) => make("span", { class: name }), (note, [, text]) => setText(note, text));
    const plot = card.querySelector(".plot");
    const top = draw(plot, graph, all, end, marks, at ? at.time : null, span);
    setText(plot.querySelector(".axis").firstChild, `−${span / 60} min`);
    plot.setAttribute("aria-valuemin", String(-span));
    setText(plot.querySelector(".top"), top === null ? "" : (graph.axis || ((v) => number(v, v < 1 ? 1 : 0)))(top));
    plot.setAttribute("aria-valuetext", shown ? `${clock(shown.time)}: ${graph.text(shown, snapshot)}` : "no value yet");
    plot.setAttribute("aria-valuenow", String(Math.round(at ? at.time - end : 0)));
  });
}

const nearest = (all, moment) => all.reduce((best, one) => (best === null || Math.abs(one.time - moment) < Math.abs(best.time - moment) ? one : best), null);

export function marksOf(events, end) {
  return events.filter((event) => event.time > end - span).flatMap((event) => {
    const kind = Object.keys(KINDS).find((one) => KINDS[one].includes(event.event));
    return kind ? [{ time: event.time, kind, text: `${event.event}${event.slot === undefined ? "" : ` in slot ${event.slot}`}` }] : [];
  });
}

function create(graph) {
  if (graph.id === "saturation") return make("figure", { "data-graph": graph.id }, make("figcaption", {}, "Saturation"), make("dl", { class: "facts" }));
  const plot = make("div", {
    class: "plot", tabindex: "0", role: "slider", "aria-label": `${graph.title}, arrow keys choose a second`,
    "aria-valuemin": String(-SECONDS), "aria-valuemax": "0",
  }, svg("svg", { "aria-hidden": "true", focusable: "false" }), make("span", { class: "top", "aria-hidden": "true" }),
  make("span", { class: "axis", "aria-hidden": "true" }, make("span", {}), make("span", {}, "now")));
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    choose(((event.clientX - box.left) / box.width - 1) * span);
  });
  plot.addEventListener("pointerleave", () => choose(null));
  plot.addEventListener("blur", () => choose(null));
  plot.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -30, PageDown: 30, Home: -SECONDS, End: SECONDS };
    if (event.key === "Escape") choose(null);
    else if (event.key in steps) {
      event.preventDefault();
      choose((chosen || 0) + steps[event.key]);
    }
  });
  const figure = make("figure", { "data-graph": graph.id }, make("figcaption", graph.hint ? { title: graph.hint } : {}, graph.title),
    make("output", { id: `now-${graph.id}` }, NONE), make("p", { class: "quiet note-line" }), plot);
  return figure;
}

// `second` before the newest one, negative; null for none.
function choose(second) {
  chosen = second === null ? null : Math.max(-span, Math.min(0, second));
  if (snapshot) render();
}
