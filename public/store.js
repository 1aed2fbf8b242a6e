/**
 * What this browser keeps between visits.
 *
 * Owns: names and shapes in browser storage. Must never know: what it is kept for.
 */

const STORE = 'roomlog';
const UNSENT = 'roomlog unsent ';

/** Browser storage that may be full, forbidden or hold something else: then it is as if it were empty. */
export const store = {
  read(storage, key = STORE) {
    try {
      return JSON.parse(storage.getItem(key)) ?? {};
    } catch {
      return {};
    }
  },
  write(storage, value, key = STORE) {
    try {
      storage.setItem(key, JSON.stringify(value));
    } catch {
      // Nothing is lost but convenience.
    }
  },
  clear(storage, key = STORE) {
    try {
      storage.removeItem(key);
    } catch {
      // There was nothing.
    }
  },
};

/**
 * Messages that are not in the log yet, each under a key of its own: so the pages of a browser do not overwrite one
 * another's, and what one of them could not send the next one can.
 */
export class Unsent {
  constructor(storage) {
    this.storage = storage;
    this.held = new Map(); // key → text, of those that this page answers for
  }

  load() {
    const entries = [];
    for (const key of Object.keys(this.storage)) {
      if (!key.startsWith(UNSENT)) continue;
      const entry = store.read(this.storage, key);
      if (entry.nonce) entries.push(entry);
    }
    return entries.sort((a, b) => a.at - b.at);
  }

  /** Makes the storage hold these, and none that this page held before. */
  sync(entries) {
    const before = this.held;
    this.held = new Map(entries.map((entry) => [UNSENT + entry.nonce, JSON.stringify(entry)]));
    for (const [key, text] of this.held) if (before.get(key) !== text) store.write(this.storage, JSON.parse(text), key);
    for (const key of before.keys()) if (!this.held.has(key)) store.clear(this.storage, key);
  }
}
