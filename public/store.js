/**
 * What this browser keeps between visits.
 *
 * Owns: names and shapes in browser storage. Must never know: what it is kept for.
 */

const STORE = 'roomlog';

/** Browser storage that may be full, forbidden or hold something else: then it is as if it were empty. */
export const store = {
  read(storage) {
    try {
      return JSON.parse(storage.getItem(STORE)) ?? {};
    } catch {
      return {};
    }
  },
  clear(storage) {
    this.write(storage, {});
  },
  write(storage, value) {
    try {
      storage.setItem(STORE, JSON.stringify(value));
    } catch {
      // Nothing is lost but convenience.
    }
  },
};
