// What does not hold, where, and words for it that have no language yet.

/** A text by its key in words.js; `filled` takes the place of its {names}. */
export function say(key, filled = {}) {
  return { key, filled };
}

/** Something does not hold. `where` is a JSON path; `found` and `expected` are values or `say`. */
export class Failure extends Error {
  constructor(where, found, expected) {
    super(where);
    this.where = where;
    this.found = found;
    this.expected = expected;
  }
}
