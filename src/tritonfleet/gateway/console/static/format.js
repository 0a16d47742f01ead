// Numbers as people read them. What is not known is a dash, never a zero.

export const UNKNOWN = "–";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

/** A count. */
export const count = (value) => (value == null ? UNKNOWN : whole.format(value));

/** A rate: one decimal below 100, unless it is whole. */
export function rate(value) {
  if (value == null) return UNKNOWN;
  return (value < 100 && !Number.isInteger(value) ? tenths : whole).format(value);
}

/** Seconds as milliseconds or seconds, whichever reads better. */
export function seconds(value) {
  if (value == null) return UNKNOWN;
  if (value > 0 && value < 0.01) return `${tenths.format(value * 1000)} ms`;
  return value < 1 ? `${whole.format(value * 1000)} ms` : `${tenths.format(value)} s`;
}

/** Bytes in GiB, or MiB where GiB would read as nothing. */
export function bytes(value) {
  if (value === 0) return "nothing";
  const gib = value / 2 ** 30;
  return gib < 0.1 ? `${tenths.format(value / 2 ** 20)} MiB` : `${tenths.format(gib)} GiB`;
}

/** A duration as "3 d 4 h", "4 h 5 min", "5 min" or "6 s". */
export function duration(value) {
  const units = [
    [86400, "d"],
    [3600, "h"],
    [60, "min"],
    [1, "s"],
  ];
  const first = units.findIndex(([size]) => value >= size);
  if (first < 0) return "0 s";
  const [size, name] = units[first];
  const [next, nextName] = units[first + 1] ?? [Infinity, ""];
  const rest = Math.floor((value % size) / next);
  return `${Math.floor(value / size)} ${name}${rest && first < 2 ? ` ${rest} ${nextName}` : ""}`;
}

/** Sum of the known values; null if none is known. */
export function sum(values) {
  const known = values.filter((value) => value != null);
  return known.length ? known.reduce((total, value) => total + value, 0) : null;
}
