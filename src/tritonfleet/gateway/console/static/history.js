// The samples of the last 15 minutes, put together from the first answer and what came after it.

export const KEPT_SECONDS = 900;
const COLUMNS = ["running", "waiting", "tokens_per_second", "ttft_seconds"];

export class History {
  times = [];
  models = new Map();

  /** Time of the newest sample, in seconds since 1970; 0 when there is none. */
  get last() {
    return this.times.at(-1) ?? 0;
  }

  /** Add the gateway's answer; a model that is new, or gone, has null where it was not there. */
  add({ times, models }) {
    const before = this.times.length;
    this.times.push(...times);
    for (const name of new Set([...this.models.keys(), ...Object.keys(models)])) {
      if (!this.models.has(name)) {
        this.models.set(name, Object.fromEntries(COLUMNS.map((column) => [column, Array(before).fill(null)])));
      }
      for (const column of COLUMNS) {
        this.models.get(name)[column].push(...(models[name]?.[column] ?? Array(times.length).fill(null)));
      }
    }
    this.#trim();
  }

  /** The newest value of a model's column that is known and at most `age` seconds old, else null. */
  latest(name, column, age = 30) {
    const values = this.models.get(name)?.[column] ?? [];
    for (let at = values.length - 1; at >= 0 && this.times[at] >= this.last - age; at -= 1) {
      if (values[at] != null) return values[at];
    }
    return null;
  }

  /** The models of which anything is known, in order. */
  names() {
    const known = ([, columns]) => Object.values(columns).some((values) => values.some((value) => value != null));
    return [...this.models]
      .filter(known)
      .map(([name]) => name)
      .sort();
  }

  /** Forget everything, for example when another key shows other models. */
  clear() {
    this.times = [];
    this.models.clear();
  }

  #trim() {
    const old = this.times.findIndex((time) => time >= this.last - KEPT_SECONDS);
    if (old <= 0) return;
    this.times.splice(0, old);
    for (const [name, columns] of this.models) {
      for (const values of Object.values(columns)) values.splice(0, old);
      if (columns.running.every((value) => value == null)) this.models.delete(name);
    }
  }
}
