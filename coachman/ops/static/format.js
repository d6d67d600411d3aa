// How numbers, spans and moments are written.

export const NONE = "–";
const MEBIBYTE = 1048576;

export function number(value, digits = 0) {
  if (value === undefined || value === null) return NONE;
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

// The master rounds alike (rates.py), so that rows add up to their sum as it is shown.
export const rate = (value, total) => number(value, total >= 100 ? 0 : 1);

export const bytes = (value) => (value ? `${number(Math.round(value / MEBIBYTE))} MiB` : NONE);

export function duration(seconds) {
  if (seconds === undefined || seconds === null) return NONE;
  if (seconds >= 10) return `${seconds.toFixed(0)} s`;
  if (seconds >= 1) return `${seconds.toFixed(1)} s`;
  const milliseconds = seconds * 1000;
  return `${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms`;
}

export function age(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const sizes = [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]];
  for (const [size, unit, smaller, smallerUnit] of sizes) {
    if (whole >= size) return `${Math.floor(whole / size)} ${unit} ${Math.floor((whole % size) / smaller)} ${smallerUnit}`;
  }
  return `${whole} s`;
}

export const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");

// With its date, where that is not today's.
export function moment(seconds, now) {
  const then = new Date(seconds * 1000);
  const isToday = then.toDateString() === new Date(now * 1000).toDateString();
  return isToday ? clock(seconds) : `${then.toLocaleDateString("en-GB", { day: "numeric", month: "short" })} ${clock(seconds)}`;
}

export const plural = (count, noun) => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;
