// One graph: lines over five minutes, a scale that ends at a round number, and marks where something happened.

import { svg } from "./dom.js";

export const SECONDS = 300; // as long as history.py keeps
export const SPANS = [60, 120, SECONDS];
const HEIGHT = 100;
const GAP_SECONDS = 3; // without a record, which end a line: no service ran

// Returns what the top of the scale stands for; null without any value.
export function draw(plot, graph, records, end, marks, chosen, span) {
  const image = plot.querySelector("svg");
  const values = graph.lines.flatMap(([, value]) => records.map(value)).filter((value) => value !== null && value !== undefined);
  const top = scale(Math.max(0, ...values), graph);
  const x = (time) => time - end + span;
  const y = (value) => HEIGHT - (value / top) * HEIGHT;
  const parts = [0.5, 1].map((part) => line("grid", 0, span, HEIGHT * (1 - part), HEIGHT * (1 - part)));
  for (let part = 1; part < 5; part += 1) parts.push(line("grid", (part * span) / 5, (part * span) / 5, 0, HEIGHT));
  graph.lines.forEach(([name, value], index) => {
    const runs = runsOf(records.filter((record) => x(record.time) >= 0), value, x, y);
    const isArea = index === graph.lines.length - 1;
    if (isArea) parts.push(svg("path", { class: `area ${name}`, d: runs.map((run) => `M${run[0][0]},${HEIGHT}L${run.map((point) => point.join()).join("L")}L${run[run.length - 1][0]},${HEIGHT}Z`).join("") }));
    parts.push(svg("path", { class: `line ${name}`, d: runs.map((run) => `M${run.map((point) => point.join()).join("L")}`).join("") }));
  });
  for (const mark of marks) parts.push(line(`mark ${mark.kind}`, x(mark.time), x(mark.time), 0, HEIGHT));
  if (chosen !== null) parts.push(line("cursor", x(chosen), x(chosen), 0, HEIGHT));
  image.setAttribute("viewBox", `0 0 ${span} ${HEIGHT}`);
  image.setAttribute("preserveAspectRatio", "none");
  image.replaceChildren(...parts);
  return values.length ? top : null;
}

const line = (name, x1, x2, y1, y2) => svg("line", { class: name, x1, x2, y1: y1.toFixed(1), y2: y2.toFixed(1) });

function runsOf(records, value, x, y) {
  const runs = [];
  let before = -Infinity;
  for (const record of records) {
    const here = value(record);
    if (here === null || here === undefined) continue;
    if (record.time - before > GAP_SECONDS) runs.push([]);
    runs[runs.length - 1].push([x(record.time).toFixed(1), y(here).toFixed(1)]);
    before = record.time;
  }
  // A line of one point would not be seen.
  return runs.map((run) => (run.length > 1 ? run : [[(run[0][0] - 0.5).toFixed(1), run[0][1]], run[0]]));
}

// The next 1, 2, 3 or 5 times a power of ten, of two for memory; with room for the line's own width.
function scale(most, graph) {
  if (!most) return 1;
  if (graph.id === "memory") {
    const step = 2 ** Math.floor(Math.log2(most) - 1);
    return Math.ceil((most * 1.02) / step) * step;
  }
  if (graph.isWhole) return most + (most > 8 ? Math.ceil(most / 8) : 1);
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 1.5, 2, 3, 5, 7, 10, 15].map((step) => step * power).find((step) => step >= most * 1.02);
}
