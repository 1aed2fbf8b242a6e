/**
 * What this browser keeps between visits.
 *
 * Owns: names and shapes in browser storage. Must never know: what it is kept for.
 */

const STORE = 'roomlog';

/** Browser storage that may be full, forbidden or hold something else: then it is as if it were empty. */
export const store = {
  read(storage, name = STORE) {
    try {
      return JSON.parse(storage.getItem(name)) ?? {};
    } catch {
      return {};
    }
  },
  clear(storage) {
    this.write(storage, {});
  },
  write(storage, value, name = STORE) {
    try {
      storage.setItem(name, JSON.stringify(value));
    } catch {
      // Nothing is lost but convenience.
    }
  },
};
