// What is wrong, in sentences: why a worker does not start, which one is stuck, why a release was refused.

import { age, clock, plural } from "./format.js";
import { isStuck, stuckText } from "./slots.js";

const UNEVEN = 1.5; // times an even share of the connections, which `coachman status` speaks of, too
const REFUSAL_SECONDS = 600; // for which a refusal stands above all

export function causesOf(snapshot) {
  const causes = [];
  if (snapshot.master_stuck_seconds) {
    causes.push(`The master has not moved for ${age(snapshot.master_stuck_seconds)}: a worker that ends is not replaced.`);
  }
  for (const slot of snapshot.slots) {
    if (isStuck(slot)) causes.push(`Slot ${slot.slot} is ${stuckText(slot)}: its event loop does not turn.`);
    else if (slot.failures && slot.state !== "ready") causes.push(startSentence(slot, snapshot));
  }
  const refused = lastRefusal(snapshot);
  if (refused) causes.push(`${refused.message} (${clock(refused.time)})`);
  if (snapshot.imbalance > UNEVEN) {
    causes.push(`One worker has ${snapshot.imbalance.toFixed(1)} times its share of the connections.`);
  }
  return causes;
}

function startSentence(slot, snapshot) {
  const reason = slot.start_error || (slot.last_exit ? `${slot.last_exit.reason} (${slot.last_exit.signal || `code ${slot.last_exit.code}`})` : "no reason known");
  const times = slot.failures === 1 ? "first failure" : `${plural(slot.failures, "failure")} in a row`;
  const next = nextStart(slot.slot, snapshot);
  return `Slot ${slot.slot} does not start: ${reason.replace(/\.$/, "")} (${times}${next === null ? "" : `, next try in ${age(next)}`}).`;
}

// Seconds until the slot is tried again; null where nobody knows, or it is being tried.
export function nextStart(number, snapshot) {
  const last = snapshot.events.find((event) => event.slot === number && event.next_start_in !== undefined);
  const due = last ? last.time + Number(last.next_start_in) - snapshot.time : -1;
  return due > 0 ? Math.ceil(due) : null;
}

function lastRefusal(snapshot) {
  const outcome = snapshot.events.find((event) => ["refused", "handed-over", "handover"].includes(event.event));
  return outcome && outcome.event === "refused" && snapshot.time - outcome.time < REFUSAL_SECONDS ? outcome : null;
}
