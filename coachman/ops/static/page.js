"use strict";
// Shows what /events sends. Whichever worker sends it may be killed: then another one is asked.

const SILENT_MS = 3500; // a worker that has said nothing for so long is stopped or blocked
const UNEVEN = 1.5; // times an even share of the connections, which `coachman status` speaks of, too
const SECONDS = 300; // of the graphs, as long as history.py keeps
const LABELS = ["Slot", "State", "Pid", "Age", "Req/s", "Mean", "In flight", "Connections", "Loop lag", "Threads", "CPU", "Memory", "Requests", "Restarts", "Last exit"];
const VERDICTS = { ready: "All serve", degraded: "Degraded", down: "Down", "handed-over": "Handed over" };

const element = (id) => document.getElementById(id);
const history = new Map(); // second -> record
const rates = new Map(); // slot -> what it used between the last two snapshots
let previous = null;
let latest = null;
let isPaused = false;
let source = null;
let watch = 0;

function stuckText(slot) {
  const end = slot.killed_in_seconds === null ? "" : `, killed in ${Math.round(slot.killed_in_seconds)} s`;
  return `stuck ${Math.round(slot.stuck_seconds)} s${end}`;
}

function connect() {
  if (source) source.close();
  source = new EventSource("events");
  source.onmessage = (message) => receive(JSON.parse(message.data));
  source.onerror = () => {
    setLink("lost", "Reconnecting");
    if (source.readyState === EventSource.CLOSED) again(500);
  };
  again(SILENT_MS);
}

function again(milliseconds) {
  clearTimeout(watch);
  watch = setTimeout(() => {
    setLink("lost", "Reconnecting");
    connect();
  }, milliseconds);
}

function receive(snapshot) {
  again(SILENT_MS);
  for (const second of snapshot.history) history.set(second.time, second);
  for (const moment of history.keys()) if (moment < snapshot.time - SECONDS) history.delete(moment);
  measure(snapshot);
  latest = snapshot;
  document.querySelector("main").removeAttribute("aria-busy");
  setLink(isPaused ? "paused" : "live", isPaused ? "Paused" : "Live");
  if (!isPaused) show(snapshot);
}

function measure(snapshot) {
  if (previous && snapshot.time <= previous.time) return;
  const before = new Map(previous ? previous.slots.map((slot) => [slot.slot, slot]) : []);
  const seconds = previous ? snapshot.time - previous.time : 0;
  for (const slot of snapshot.slots) {
    const old = before.get(slot.slot);
    if (!old || old.pid !== slot.pid || seconds > 10) {
      rates.delete(slot.slot);
      continue;
    }
    const requests = slot.requests - old.requests;
    rates.set(slot.slot, {
      requests: requests / seconds,
      latency: requests ? (slot.busy_seconds - old.busy_seconds) / requests : null,
      cpu: Math.max(0, slot.cpu_seconds - old.cpu_seconds) / seconds,
    });
  }
  previous = snapshot;
}

function show(snapshot) {
  const verdict = element("verdict");
  verdict.dataset.status = snapshot.status;
  setText("verdict-text", `${VERDICTS[snapshot.status]}: ${snapshot.ready} of ${snapshot.workers}`);
  setText("release", snapshot.release);
  const handover = snapshot.handover === "under-way" ? ", a handover is under way" : "";
  const uneven = snapshot.imbalance > UNEVEN ? `, one worker has ${snapshot.imbalance.toFixed(1)} times its share of the connections` : "";
  setText("master", `Generation ${snapshot.generation}, master ${snapshot.master}${handover}${uneven}`);
  setText("fed", `Told by worker ${snapshot.answered_by} at ${clock(snapshot.time)}`);
  document.title = `${snapshot.ready}/${snapshot.workers} ${snapshot.status} · ${snapshot.release}`;
  showSlots(snapshot);
  showGraphs(snapshot);
  showEvents(snapshot.events);
}

function showSlots(snapshot) {
  const body = document.querySelector("#slots tbody");
  const wanted = new Set(snapshot.slots.map((slot) => `slot-${slot.slot}`));
  for (const row of [...body.children]) if (!wanted.has(row.id)) row.remove();
  snapshot.slots.forEach((slot, index) => {
    const row = element(`slot-${slot.slot}`) || newRow(slot.slot);
    if (body.children[index] !== row) body.insertBefore(row, body.children[index] || null);
    fill(row, slot, snapshot.time);
  });
}

function newRow(number) {
  const row = document.createElement("tr");
  row.id = `slot-${number}`;
  LABELS.forEach((label, index) => {
    const cell = document.createElement(index ? "td" : "th");
    if (!index) cell.scope = "row";
    cell.dataset.label = label;
    row.append(cell);
  });
  const state = document.createElement("span");
  state.className = "state";
  const shape = document.createElement("span");
  shape.className = "shape";
  shape.setAttribute("aria-hidden", "true");
  state.append(shape, document.createElement("span"));
  row.children[1].append(state);
  return row;
}

function fill(row, slot, now) {
  const rate = rates.get(slot.slot) || {};
  const state = row.children[1].firstChild;
  if (row.dataset.pid !== undefined && row.dataset.pid !== String(slot.pid)) {
    row.classList.remove("changed");
    void row.offsetWidth; // begins the animation anew
    row.classList.add("changed");
  }
  row.dataset.pid = slot.pid;
  state.dataset.state = slot.stuck_seconds ? "dead" : slot.state;
  state.lastChild.textContent = slot.stuck_seconds ? stuckText(slot) : slot.state;
  const texts = [
    slot.slot, null, slot.pid || "–", age(now - (slot.pid ? slot.forked_at : Date.parse(slot.since) / 1000)),
    number(rate.requests, 1), milliseconds(rate.latency), slot.in_flight,
    slot.connections ? `${slot.connections} (${Math.round(slot.share * 100)} %)` : "–", milliseconds(slot.loop_lag),
    slot.threads ? `${slot.threads_busy}/${slot.threads}${slot.threads_waiting ? ` +${slot.threads_waiting}` : ""}` : "–",
    rate.cpu === undefined ? "–" : `${Math.round(rate.cpu * 100)} %`, bytes(slot.rss),
    slot.requests.toLocaleString("en"), slot.restarts, lastExit(slot.last_exit, now),
  ];
  texts.forEach((text, index) => {
    if (text === null) return;
    const cell = row.children[index];
    if (cell.textContent !== String(text)) cell.textContent = text;
    cell.classList.toggle("none", text === "–");
  });
}

function lastExit(exit, now) {
  if (!exit) return "–";
  return `${exit.reason} (${exit.signal || `code ${exit.code}`}) ${age(now - Date.parse(exit.at) / 1000)} ago`;
}

function showGraphs(snapshot) {
  const end = Math.max(0, ...history.keys());
  const records = [...history.values()].sort((a, b) => a.time - b.time);
  const last = records[records.length - 1];
  const sum = (key) => snapshot.slots.reduce((total, slot) => total + slot[key], 0);
  const sums = { in_flight: sum("in_flight"), rss: sum("rss"), ready: snapshot.ready };
  const values = {
    requests: [(r) => r.requests, (v) => number(v, 1)],
    latency: [(r) => (r.requests ? r.busy / r.requests : null), milliseconds],
    in_flight: [(r) => r.in_flight, (v) => number(v, 0)],
    cpu: [(r) => r.cpu, (v) => number(v, 2)],
    rss: [(r) => r.rss, bytes],
    ready: [(r) => r.ready, (v) => `${number(v, 0)} of ${snapshot.workers}`],
  };
  for (const [name, [value, text]] of Object.entries(values)) {
    const now = name in sums ? sums[name] : last && value(last);
    setText(`now-${name}`, now === undefined ? "–" : text(now));
    draw(document.querySelector(`[data-graph="${name}"] svg`), records.map((r) => [r.time - end + SECONDS, value(r)]));
  }
}

function draw(svg, points) {
  const top = Math.max(1e-9, ...points.map((point) => point[1] || 0)) * 1.15;
  const drawn = points.filter((point) => point[1] !== null);
  // A second of which nothing is known ends a line: no service ran, or nothing was asked.
  const runs = [];
  let before = -Infinity;
  for (const [x, y] of drawn) {
    if (x - before > 3) runs.push([]);
    runs[runs.length - 1].push(`${x},${(44 - (y / top) * 40).toFixed(1)}`);
    before = x;
  }
  const line = runs.map((run) => `M${run.join("L")}`).join("");
  const area = runs.map((run) => `M${run[0].split(",")[0]},44L${run.join("L")}L${run[run.length - 1].split(",")[0]},44Z`).join("");
  svg.setAttribute("viewBox", `0 0 ${SECONDS} 44`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.replaceChildren(path("area", area), path("line", line));
}

function path(name, shape) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "path");
  made.setAttribute("class", name);
  made.setAttribute("d", shape);
  return made;
}

function showEvents(events) {
  const list = element("events");
  element("no-events").hidden = events.length > 0;
  const key = events.length ? `${events[0].time} ${events[0].n} ${events[0].generation} ${events.length}` : "";
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...events.map((event) => {
    const item = document.createElement("li");
    item.dataset.level = event.level;
    const time = document.createElement("time");
    time.dateTime = new Date(event.time * 1000).toISOString();
    time.title = time.dateTime;
    time.textContent = clock(event.time);
    const kind = document.createElement("span");
    kind.className = "kind";
    kind.textContent = event.event;
    const message = document.createElement("span");
    message.textContent = event.message;
    item.append(time, kind, message);
    return item;
  }));
}

function setLink(kind, text) {
  const link = element("link");
  link.dataset.link = kind;
  link.textContent = text;
  if (kind === "lost") document.querySelector("main").setAttribute("aria-busy", "true");
}

function setText(id, text) {
  const target = element(id);
  if (target.textContent !== text) target.textContent = text;
}

function pause() {
  isPaused = !isPaused;
  const button = element("pause");
  button.setAttribute("aria-pressed", String(isPaused));
  button.textContent = isPaused ? "Go on" : "Pause";
  if (isPaused) {
    setLink("paused", "Paused");
  } else if (latest) {
    setLink("live", "Live");
    show(latest);
  }
}

const number = (value, digits) => (value === undefined || value === null ? "–" : value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");
const bytes = (value) => (value ? `${Math.round(value / 1048576).toLocaleString("en")} MiB` : "–");

function milliseconds(seconds) {
  if (seconds === undefined || seconds === null) return "–";
  if (seconds >= 1) return `${seconds.toFixed(2)} s`;
  return `${(seconds * 1000).toFixed(seconds < 0.1 ? 1 : 0)} ms`;
}

function age(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const sizes = [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]];
  for (const [size, unit, smaller, smallerUnit] of sizes) {
    if (whole >= size) return `${Math.floor(whole / size)} ${unit} ${Math.floor((whole % size) / smaller)} ${smallerUnit}`;
  }
  return `${whole} s`;
}

element("pause").addEventListener("click", pause);
document.addEventListener("keydown", (event) => {
  if (event.key === "p" && !event.ctrlKey && !event.metaKey && !event.altKey) pause();
});
connect();
