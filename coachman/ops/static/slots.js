// The workers: a table of all that is known of each, and a grid of their state and load for small screens.

import { element, keyed, make, setState, setText, stateBadge } from "./dom.js";
import { age, bytes, duration, NONE, number, rate } from "./format.js";

const STUCK_SECONDS = 1; // without a heartbeat, which comes ten times a second
const HEADINGS = [
  ["Slot"], ["State"], ["Pid"], ["Age"], ["Req/s", "requests answered in the last second"], ["Mean", "duration of the requests of the last second"],
  ["In flight", "the mean of the last second"], ["Open", "connections, and the worker's share of all"],
  ["Lag", "of the event loop, the worst of the last second"], ["Threads", "in use, of all for plain def endpoints, and calls that wait"],
  ["CPU", "of one core"], ["Memory", "shared pages counted once (PSS); read every 30 s"], ["RSS", "shared pages counted in each process"],
  ["Requests", "since its start"], ["Restarts"], ["Last exit", "of the worker before"],
];

export const isStuck = (slot) => (slot.state === "ready" || slot.state === "draining") && slot.silent_seconds >= STUCK_SECONDS;

export function stuckText(slot) {
  const end = slot.killed_in_seconds === null ? "" : `, killed in ${Math.round(slot.killed_in_seconds)} s`;
  return `stuck ${Math.floor(slot.silent_seconds)} s${end}`;
}

// How a slot is drawn, and what is written there.
export function stateOf(slot) {
  if (isStuck(slot)) return ["stuck", `stuck ${Math.floor(slot.silent_seconds)} s`];
  return [slot.state, slot.state];
}

export function showSlots(snapshot) {
  const table = element("slots");
  if (!table.tHead.rows[0].children.length) {
    table.tHead.rows[0].append(...HEADINGS.map(([text, title]) => make("th", { scope: "col", ...(title ? { title } : {}) }, text)));
  }
  const isPair = snapshot.generations.length > 1;
  const lines = snapshot.generations.flatMap((generation) => [
    ...(isPair ? [{ key: `generation-${generation.generation}`, generation }] : []),
    ...generation.slots.map((slot) => ({ key: generation.serves ? `slot-${slot.slot}` : `next-${generation.generation}-${slot.slot}`, slot })),
  ]);
  keyed(table.tBodies[0], lines, (line) => line.key, create, (row, line) => (line.slot ? fill(row, line.slot, snapshot) : setText(row.firstChild, generationTitle(line.generation, snapshot))));
  keyed(table.tFoot, sums(snapshot), (line) => line.Slot, createSum, (row, line) => setTexts(row, HEADINGS.map(([label]) => line[label] ?? "")));
  showTiles(element("tiles"), snapshot.generations.find((one) => one.serves), snapshot);
}

export function generationTitle(generation, snapshot) {
  const others = snapshot.generations.filter((one) => one !== generation);
  const isNew = others.every((one) => one.generation < generation.generation);
  const does = generation.serves ? "serves" : isNew ? "is to take over" : "drains";
  return `Generation ${generation.generation} ${does}, master ${generation.master}`;
}

function create(line) {
  if (!line.slot) return make("tr", { class: "generation" }, make("th", { colspan: String(HEADINGS.length), scope: "rowgroup" }));
  const row = make("tr", { id: line.key });
  HEADINGS.forEach(([label], index) => row.append(make(index ? "td" : "th", { "data-label": label, ...(index ? {} : { scope: "row" }) })));
  row.children[1].append(stateBadge());
  return row;
}

const createSum = () => make("tr", {}, ...HEADINGS.map(([label], index) => make(index ? "td" : "th", { "data-label": label, ...(index ? {} : { scope: "row" }) })));

function fill(row, slot, snapshot) {
  if (row.dataset.pid !== undefined && row.dataset.pid !== String(slot.pid)) {
    row.classList.add("changed");
    row.addEventListener("animationend", () => row.classList.remove("changed"), { once: true });
  }
  row.dataset.pid = slot.pid;
  setState(row.children[1].firstChild, snapshot.stopping && slot.state === "dead" ? ["stopped", "stopped"] : stateOf(slot));
  const total = snapshot.now ? snapshot.now.requests : 0;
  // Of a slot without a worker nothing is measured.
  const works = slot.pid ? [
    slot.pid, age(snapshot.time - slot.forked_at), rate(slot.requests_rate, total), duration(slot.mean), number(slot.in_flight_mean, 1),
    slot.connections ? `${number(slot.connections)} (${Math.round(slot.share * 100)} %)` : "0", duration(slot.loop_lag),
    slot.threads ? `${slot.threads_busy}/${slot.threads}${slot.threads_waiting ? ` +${slot.threads_waiting}` : ""}` : NONE,
    percent(slot.cpu), bytes(slot.memory), bytes(slot.rss), number(slot.requests),
  ] : Array(12).fill(NONE);
  setTexts(row, [slot.slot, null, ...works, number(slot.restarts), lastExit(slot.last_exit, snapshot.time)]);
}

const percent = (cores) => (cores === null || cores === undefined ? NONE : `${Math.round(cores * 100)} %`);

function setTexts(row, texts) {
  texts.forEach((text, index) => {
    if (text === null) return;
    setText(row.children[index], text);
    row.children[index].classList.toggle("none", text === NONE);
  });
}

// The masters, and the sums that the figures above show.
function sums(snapshot) {
  if (!snapshot.now) return [];
  const masters = snapshot.about.is_without_master ? [] : snapshot.generations.map((one) => ({
    Slot: snapshot.generations.length > 1 ? `Master ${one.generation}` : "Master",
    Pid: one.master,
    ...(one.own ? { CPU: percent(one.own.cpu), Memory: bytes(one.own.memory), RSS: bytes(one.own.rss) } : {}),
  }));
  const ended = snapshot.generations.reduce((sum, one) => sum + one.ended_requests, 0);
  const now = snapshot.now;
  const all = snapshot.generations.flatMap((one) => one.slots);
  return [...masters, ...(ended ? [{ Slot: "Ended", Requests: number(ended) }] : []), {
    Slot: "All", "Req/s": rate(now.requests, now.requests), Mean: duration(now.requests ? now.busy / now.requests : null), "In flight": number(now.in_flight, 1),
    Open: number(all.reduce((sum, slot) => sum + slot.connections, 0)), CPU: percent(now.cpu), Memory: bytes(now.memory), RSS: bytes(now.rss),
    Requests: number(snapshot.generations.reduce((sum, one) => sum + one.requests, 0)), Restarts: number(all.reduce((sum, slot) => sum + slot.restarts, 0)),
  }];
}

function lastExit(exit, now) {
  if (!exit) return NONE;
  return `${exit.reason} (${exit.signal || `code ${exit.code}`}) ${age(now - Date.parse(exit.at) / 1000)} ago`;
}

export function showTiles(list, generation, snapshot) {
  const total = snapshot.now ? snapshot.now.requests : 0;
  keyed(list, generation.slots, (slot) => slot.slot, createTile, (tile, slot) => {
    const [state, text] = stateOf(slot);
    tile.dataset.state = state;
    const [name, load] = tile.querySelectorAll("b, small");
    setText(name, slot.slot);
    setText(load, slot.pid && slot.requests_rate !== null && state !== "stuck" ? `${rate(slot.requests_rate, total)}/s` : text);
    tile.querySelector("meter").value = Math.min(1, slot.cpu || 0);
    tile.title = `Slot ${slot.slot}: ${text}${slot.pid ? `, pid ${slot.pid}, ${percent(slot.cpu)} of a core` : ""}`;
    setText(tile.lastChild, `, ${text}`);
  });
}

const createTile = () => make("li", { class: "tile" }, make("span", { class: "shape", "aria-hidden": "true" }), make("b"), make("small"), make("meter", { min: "0", max: "1", "aria-label": "CPU" }), make("span", { class: "unseen" }));
