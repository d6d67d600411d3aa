// Shows what /events sends. Whichever worker sends it may be killed: then another one is asked.

import { element, setText } from "./dom.js";
import { showEvents } from "./events.js";
import { age, clock, NONE, plural } from "./format.js";
import { showGraphs } from "./graphs.js";
import { showHandover } from "./handover.js";
import { showRoutes } from "./routes.js";
import { isStuck, showSlots, stateOf } from "./slots.js";
import { causesOf } from "./causes.js";

const SILENT_MS = 2500; // a worker that has said nothing for so long is stopped or blocked
const RECONNECTING_MS = 6000; // after which the page says since when nobody has answered
const kept = { events: [], traffic: null }; // parts that are sent only when they change
let latest = null;
let heardAt = 0; // by this machine's clock, which may differ from the server's
let isLost = true;
let isPaused = false;
let source = null;
let watch = 0;

function connect() {
  if (source) source.close();
  source = new EventSource("events");
  source.onmessage = (message) => receive(JSON.parse(message.data));
  source.onerror = () => {
    lose();
    if (source.readyState === EventSource.CLOSED) again(500);
  };
  again(SILENT_MS);
}

function again(milliseconds) {
  clearTimeout(watch);
  watch = setTimeout(() => {
    lose();
    connect();
  }, milliseconds);
}

function receive(part) {
  again(SILENT_MS);
  for (const name of Object.keys(kept)) if (name in part) kept[name] = part[name];
  latest = { ...part, ...kept };
  heardAt = Date.now();
  isLost = false;
  document.querySelector("main").removeAttribute("aria-busy");
  showLink();
  show(latest, part);
}

function lose() {
  isLost = true;
  showLink();
}

// What stands when nobody answers: a stop that was asked for is no failure.
function showLink() {
  const link = element("link");
  const silent = Date.now() - heardAt;
  if (!isLost) {
    link.dataset.link = isPaused ? "paused" : "live";
    setText(link, isPaused ? "Paused" : "Live");
    return;
  }
  const isStopped = latest !== null && latest.stopping;
  link.dataset.link = isStopped ? "stopped" : "lost";
  if (isStopped) {
    setText(link, `Stopped at ${clock(latest.time)}`);
    element("verdict").dataset.status = "stopped";
    setText("verdict-text", "Stopped");
  } else if (latest === null || silent < RECONNECTING_MS) {
    setText(link, "Reconnecting");
  } else {
    setText(link, `No answer since ${clock(latest.time)}`);
    element("verdict").dataset.status = "unknown";
    setText("verdict-text", "Nobody answers");
  }
  if (latest === null) return;
  if (isStopped || silent > SILENT_MS) {
    document.querySelector("main").setAttribute("aria-busy", "true");
    setText("fed", `Last heard ${age(silent / 1000)} ago`);
  }
}

function show(snapshot, part) {
  showGraphs(snapshot, { isPaused, history: part ? part.history : [] });
  if (isPaused) return;
  const [status, text] = verdict(snapshot);
  element("verdict").dataset.status = status;
  setText("verdict-text", text);
  showService(snapshot);
  const causes = causesOf(snapshot);
  element("causes").hidden = causes.length === 0;
  if (element("causes").dataset.text !== causes.join()) {
    element("causes").dataset.text = causes.join();
    element("causes").replaceChildren(...causes.map((cause) => Object.assign(document.createElement("li"), { textContent: cause })));
  }
  showHandover(snapshot);
  showSlots(snapshot);
  showRoutes(snapshot.traffic);
  showEvents(snapshot);
}

function verdict(snapshot) {
  const stuck = snapshot.slots.filter(isStuck);
  const serving = Math.min(snapshot.ready, snapshot.slots.filter((slot) => stateOf(slot)[0] === "ready").length);
  const of = `${serving} of ${plural(snapshot.workers, "worker")} ${serving === 1 ? "serves" : "serve"}`;
  if (snapshot.stopping) return ["unknown", "Stopping"];
  if (stuck.length) return [serving ? "degraded" : "down", `${of}, ${stuck.length === 1 ? `slot ${stuck[0].slot} is` : `${stuck.length} are`} stuck`];
  if (snapshot.status === "handed-over") return ["handed-over", "Handed over"];
  if (snapshot.status === "down") return ["down", "Down: no worker serves"];
  if (snapshot.status === "degraded") return ["degraded", `Degraded: ${of}`];
  return ["ready", snapshot.workers === 1 ? "The worker serves" : `All ${snapshot.workers} workers serve`];
}

function showService(snapshot) {
  const about = snapshot.about;
  const name = about.title || about.module || snapshot.about.release;
  setText("application", name);
  const parts = [about.title ? about.module : "", about.release ? `release ${about.release}` : ""];
  if (about.started_at) parts.push(`up ${age(snapshot.time - about.started_at)}`);
  parts.push(about.is_without_master ? `one process, ${snapshot.master}` : `generation ${snapshot.generation}, master ${snapshot.master}`);
  setText("service", parts.filter(Boolean).join(" · "));
  element("service").title = about.started_at ? `since ${new Date(about.started_at * 1000).toLocaleString("en-GB")}` : "";
  setText("version", `Coachman ${about.coachman}`);
  const docs = element("docs");
  docs.hidden = !about.docs || !about.port;
  docs.href = `${about.scheme}://${location.hostname}:${about.port || ""}${about.docs}`;
  setText("fed", `Reported by worker ${snapshot.answered_by} at ${clock(snapshot.time)}`);
  document.title = `${snapshot.ready}/${snapshot.workers} ${snapshot.status} · ${name || NONE}`;
}

function pause() {
  isPaused = !isPaused;
  const button = element("pause");
  button.setAttribute("aria-pressed", String(isPaused));
  button.textContent = isPaused ? "Resume" : "Pause";
  showLink();
  if (!isPaused && latest) show(latest, null);
}

element("pause").addEventListener("click", pause);
document.addEventListener("keydown", (event) => {
  if (event.key === "p" && !event.ctrlKey && !event.metaKey && !event.altKey) pause();
});
setInterval(() => isLost && showLink(), 1000);
connect();
