// What is about to run out, and what has been lost.

import { keyed, make, setText } from "./dom.js";
import { duration, NONE, number, plural } from "./format.js";

export function showSaturation(list, snapshot) {
  const traffic = snapshot.traffic;
  const limits = traffic ? Object.entries(traffic.limits).filter(([, count]) => count) : [];
  const queue = snapshot.queues.map((one) => `${number(one.waiting)} of ${number(one.limit)}`).join(", ");
  const answered = traffic ? traffic.answered : {};
  const all = (answered.compiled || 0) + (answered.fastapi || 0);
  const facts = [
    ["Listen queue", queue || NONE, "connections that no worker has taken yet"],
    ["Limits reached", limits.length ? number(limits.reduce((sum, [, count]) => sum + count, 0)) : traffic ? "0" : NONE, limits.map(([name, count]) => `${name} ${count}`).join(", ") || "no request or connection has been ended by a limit", limits.length > 0],
    ["Compiled", all ? `${number((answered.compiled / all) * 100 || 0)} %` : NONE, `of ${plural(all, "request")}, those that compiled functions have answered; the rest by FastAPI's own code`],
    ["Log lines dropped", number(snapshot.log_lines_dropped), "the log's reader was too slow", snapshot.log_lines_dropped > 0],
    ["Worst loop lag", duration(snapshot.now ? snapshot.now.lag : null), "of the last second"],
  ];
  keyed(list, facts, (fact) => fact[0], ([name, , hint]) => make("div", { title: hint }, make("dt", {}, name), make("dd")), (line, fact) => {
    setText(line.lastChild, fact[1]);
    line.title = fact[2];
    line.classList.toggle("warn", Boolean(fact[3]));
  });
}
