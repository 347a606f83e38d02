// PURE. How long to wait before the next dial: longer each time, and never in step with everybody else.

const FIRST_MS = 300;
const LONGEST_MS = 8_000;

/** Milliseconds before attempt 1, 2, 3, …; `random` is between 0 and 1. Half of it is fixed, so that it does grow. */
export function delay(attempt, random = Math.random()) {
  const longest = Math.min(LONGEST_MS, FIRST_MS * 2 ** (attempt - 1));
  return longest / 2 + (longest / 2) * random;
}
