/**
 * One room as this page sees it: its piece of the log, merged by sequence.
 *
 * Owns: what is shown, read, unread and unsent in a room. Must never know: a connection, a clock, the document.
 */

const LOG_MAX = 5_000; // messages kept per room; older ones are read again from the server
const ASIDES_MAX = 200; // announcements kept per room

/** Begins the names of conversations that no log holds. No room can have such a name (PROTOCOL.md, "private"). */
export const FLEETING = '@dm:~';

/** The index of the first message in `log` whose sequence is at least `sequence`. */
export function lowerBound(log, sequence) {
  let low = 0;
  let high = log.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (log[middle].sequence < sequence) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** An edit or a deletion: a place in the log, but no line of its own. */
export const isChange = ({ kind }) => kind === 'edit' || kind === 'delete';

/**
 * One room as this client sees it.
 *
 * Invariants: `log` is strictly ascending by sequence; a hole in it is one the server reported (damage, or a
 * retention that moved); an outbox entry is gone once the log holds its message.
 */
export class Room {
  constructor(name, { epoch = null, read = null, peer = null, isKept = false } = {}) {
    this.name = name;
    this.peer = peer; // the other one, if this is a private conversation
    this.isKept = isKept; // the account knows that it is in this room
    this.phase = 'out'; // out → joining (join sent) → replaying (acknowledged) → live (caught up)
    this.epoch = epoch;
    this.floor = 1; // earliest sequence the server still holds
    this.log = [];
    this.asides = []; // announcements: not stored, not numbered, shown after the sequence they carry
    this.reset = null; // {after, reason}: why the log was started over
    this.outbox = []; // {nonce, kind?, target?, content, at, state: waiting|sent|acked|failed, sequence?, why?}
    this.members = new Map(); // user → status
    this.count = 0;
    this.isPartial = false; // the server lists only some members of a large room
    this.typing = new Map(); // user → shown until
    this.read = read; // last sequence a person has seen; null until the first history
    this.marker = null; // the "new messages" line stands after this sequence
    this.reading = false; // someone looks at the end of this room
    this.askedBefore = null; // an older page was asked for, ending before this sequence
  }

  /** What to call it. */
  get title() {
    return this.peer ?? this.name;
  }

  /** Whether it is a conversation that no log holds: one of the two is a guest. Its numbers are this page's own. */
  get isFleeting() {
    return this.name.startsWith(FLEETING);
  }

  get first() {
    return this.log.length ? this.log[0].sequence : 0;
  }

  get last() {
    return this.log.length ? this.log[this.log.length - 1].sequence : 0;
  }

  get unread() {
    return this.read === null ? 0 : Math.max(0, this.last - this.read);
  }

  get hasOlder() {
    return this.log.length > 0 && this.first > Math.max(1, this.floor);
  }

  /** Appends one message if it continues the log; what is already held is dropped. */
  append(message) {
    const before = this.last;
    if (message.sequence <= before) return false;
    this.log.push(message);
    if (isChange(message)) this.change(message);
    this.typing.delete(message.user);
    if (this.log.length > LOG_MAX) this.log.splice(0, LOG_MAX / 5);
    const own = this.outbox.findIndex((entry) => message.nonce !== undefined && entry.nonce === message.nonce);
    if (own >= 0) this.outbox.splice(own, 1);
    // A deletion carries no nonce: whoever deletes it, it is done.
    if (message.kind === 'delete') this.outbox = this.outbox.filter(({ target }) => target !== message.target);
    if (own >= 0 || this.reading) this.read = Math.max(this.read ?? 0, message.sequence);
    if (own >= 0) this.marker = null;
    else if (this.unread > 0 && (this.marker === null || this.read >= before)) this.marker = this.read;
    return true;
  }

  /** Gives a message the text, or the end, that a later event of the log gives it; one that shows a later one keeps it. */
  change({ kind, target, sequence, content, timestamp }) {
    const message = this.log.find((other) => other.sequence === target);
    if (!message || sequence <= Math.max(message.edited?.sequence ?? 0, message.deleted?.sequence ?? 0)) return;
    const at = { sequence, timestamp };
    Object.assign(message, kind === 'edit' ? { content, edited: at } : { content: '', deleted: at });
  }

  /** Merges a `history` frame: before the beginning if that was asked for, after the end, from scratch on `reset`. */
  merge({ messages, epoch, floor, head, reset }) {
    if (reset) this.startOver(reset, messages.length ? messages[0].sequence - 1 : head);
    const isOther = this.epoch !== null && epoch !== this.epoch;
    const unseen = this.read === null || (this.log.length === 0 && (isOther || this.read > head));
    if (unseen) this.read = messages.length ? messages[messages.length - 1].sequence : head;
    this.epoch = epoch;
    this.floor = floor;
    if (this.askedBefore !== null) this.log.unshift(...messages.filter(({ sequence }) => sequence < this.first));
    this.askedBefore = null;
    for (const message of messages) this.append(message);
    this.settle();
  }

  /** Forgets the log: the server says that the position held here is not one of its own any more. */
  startOver(reason, after) {
    this.log = [];
    this.asides = [];
    this.reset = { after, reason };
    this.read = null;
    this.marker = null;
    this.askedBefore = null;
    // Acknowledged but perhaps lost with the old epoch: the nonce makes asking again harmless.
    for (const entry of this.outbox) if (entry.state === 'acked') entry.state = 'waiting';
  }

  /** The change of a message that is on its way, if there is one. */
  changeOf(sequence) {
    return this.outbox.findLast(({ target }) => target === sequence);
  }

  /** Takes acknowledged sends off the outbox once the log has passed them. */
  settle() {
    this.outbox = this.outbox.filter((entry) => entry.state !== 'acked' || entry.sequence > this.last);
  }

  aside({ sequence, kind, content, subject, timestamp }) {
    const user = subject ?? null;
    if (this.peer !== null) return; // the two are not members, they come and go elsewhere
    if (user !== null) this.setStatus(user, kind === 'leave' ? null : 'online');
    this.asides.push({ after: sequence ?? this.last, kind, user, content, timestamp });
    if (this.asides.length > ASIDES_MAX) this.asides.shift();
  }

  /** Sets a member's status; null takes the member off the list. */
  setStatus(user, status) {
    const known = this.members.has(user);
    if (status === null) {
      this.members.delete(user);
      this.typing.delete(user);
    } else this.members.set(user, status);
    this.count += Number(this.members.has(user)) - Number(known);
  }

  /** Tells whether a person is looking at the end of this room; what stands there is then read. */
  setReading(reading) {
    this.reading = reading;
    if (reading && this.read !== null) this.read = Math.max(this.read, this.last);
  }
}
