// What has happened, the newest first. The failed starts of a slot are one line with their number.

import { nextStart } from "./causes.js";
import { element, make, keyed, setText } from "./dom.js";
import { age, moment, number } from "./format.js";

const REPEATED = ["boot-failed", "boot-timeout"];
const ENDING = ["started", "stopping", "handover", "handed-over", "refused", "restored"]; // a row of failures

export function fold(events) {
  const shown = [];
  let open = new Map();
  for (const event of events) {
    if (ENDING.includes(event.event)) open = new Map();
    const repeats = event.next_start_in !== undefined || REPEATED.includes(event.event);
    const key = `${event.event} ${event.slot} ${event.generation}`;
    if (repeats && open.has(key)) {
      open.get(key).count += 1;
      open.get(key).first = event.time;
      continue;
    }
    const line = { ...event, count: 1, first: event.time };
    if (repeats) open.set(key, line);
    shown.push(line);
  }
  return shown;
}

export function showEvents(snapshot) {
  const lines = fold(snapshot.events);
  element("no-events").hidden = lines.length > 0;
  keyed(element("events"), lines, (line) => `${line.generation} ${line.n} ${line.time}`, create, (item, line) => fill(item, line, snapshot));
}

function create(line) {
  const time = make("time", { datetime: new Date(line.time * 1000).toISOString() });
  time.title = new Date(line.time * 1000).toString();
  return make("li", { "data-level": line.level }, time, make("span", { class: "kind" }), make("span"));
}

function fill(item, line, snapshot) {
  const [time, kind, message] = item.children;
  setText(time, moment(line.time, snapshot.time));
  setText(kind, line.event);
  const isNewest = snapshot.events.find((event) => event.slot === line.slot && event.next_start_in !== undefined);
  const next = isNewest && isNewest.n === line.n && isNewest.time === line.time ? nextStart(line.slot, snapshot) : null;
  // The log's line, without what stands beside it here.
  let text = line.message.replace(/( \(failed start \d+ of this slot\))?; the next one starts in [\d.]+ s$/, "").replace(`: ${line.event}`, "");
  text = text.replace(/\b\d{4,}(?= requests)/, (digits) => number(Number(digits)));
  if (line.count > 1) text += ` × ${line.count} in ${age(line.time - line.first)}`;
  if (next !== null) text += `, next in ${age(next)}`;
  setText(message, text);
}
