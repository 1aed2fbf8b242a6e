/**
 * What this browser keeps between visits.
 *
 * Owns: names and shapes in browser storage. Must never know: what it is kept for.
 */

const STORE = 'roomlog';
const UNSENT = 'roomlog unsent ';
const ROOMS = 'roomlog rooms ';

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
 * Who was here last, and the rooms of each of them. A page writes only what it changed itself: one that is a guest's does not
 * undo the login of another.
 */
export class Memory {
  constructor(storage) {
    this.storage = storage;
    this.known = new Map(); // key → text, as this page found or left it
    this.user = null;
  }

  /** What to start from: as `tab` was before it was reloaded, else as whoever was here last. */
  load(tab) {
    const { user = null, token = null } = tab.user ? tab : store.read(this.storage);
    this.user = user;
    this.known.set(STORE, JSON.stringify({ user, token }));
    return { user, token, ...(user && store.read(this.storage, ROOMS + user)) };
  }

  save({ user, token, ...rooms }) {
    // Who logs out leaves no trace of where they were.
    if (!user && this.user) store.clear(this.storage, ROOMS + this.user);
    this.user = user;
    this.put(STORE, { user, token });
    if (user) this.put(ROOMS + user, rooms);
  }

  put(key, value) {
    const text = JSON.stringify(value);
    if (this.known.get(key) !== text) store.write(this.storage, value, key);
    this.known.set(key, text);
  }
}

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
