// A handover as what it is: its steps, and both generations side by side.

import { element, keyed, make, setText } from "./dom.js";
import { generationTitle, showTiles } from "./slots.js";

const DOING = { checked: "is checked", loaded: "is loaded", started: "starts", proven: "is on probation", drained: "the old one drains" };
const SHOWN_MS = 10000; // after its end
let seen = null; // the last progress
let endedAt = 0;

export function showHandover(snapshot) {
  const progress = snapshot.progress;
  if (progress) [seen, endedAt] = [progress, 0];
  else if (seen && !endedAt) endedAt = Date.now();
  if (endedAt && Date.now() - endedAt > SHOWN_MS) seen = null;
  element("handover").hidden = seen === null;
  if (seen === null) return;
  // Of the last one that is known: who is asked next may see no more than its end.
  const outcome = snapshot.events.find((event) => ["handed-over", "refused"].includes(event.event));
  const isRefused = seen.refused || (!progress && outcome !== undefined && outcome.event === "refused");
  setText("handover-title", title(snapshot, progress, isRefused));
  keyed(element("steps"), seen.steps, (step) => step, () => make("li"), (item, step) => {
    const index = seen.steps.indexOf(step);
    const isDone = index < seen.step || (!progress && !isRefused);
    item.dataset.step = isDone ? "done" : index > seen.step ? "todo" : isRefused ? "refused" : "now";
    setText(item, item.dataset.step === "now" ? DOING[step] : step);
    if (item.dataset.step === "now") item.setAttribute("aria-current", "step");
    else item.removeAttribute("aria-current");
  });
  const shown = snapshot.generations.length > 1 || progress ? [...snapshot.generations] : [];
  // It has no workers yet, and soon the place that is held for it.
  if (shown.length === 1) shown.push({ generation: snapshot.generation + 1, slots: [] });
  keyed(element("pair"), shown, (one) => one.generation, create, (box, one) => {
    setText(box.firstChild, one.workers ? generationTitle(one, snapshot) : `Generation ${one.generation}`);
    setText(box.children[1], one.workers ? `${one.ready} of ${one.workers} ready` : `The new release ${isRefused ? "is refused" : DOING[seen.steps[seen.step]]}`);
    showTiles(box.lastChild, one, snapshot);
  });
}

function title(snapshot, progress, isRefused) {
  const newest = Math.max(...snapshot.generations.map((one) => one.generation));
  if (isRefused) return progress ? "Handover: the new release is refused" : "Handover: the new release was refused";
  if (!progress) return `Handover: generation ${newest} has taken over`;
  const next = snapshot.generations.length > 1 ? newest : newest + 1;
  return `Handover: generation ${next} ${progress.step === 4 ? "has taken" : "takes"} over from ${next - 1}`;
}

const create = () => make("div", { class: "side" }, make("h3"), make("p", { class: "quiet" }), make("ul", { class: "tiles" }));
