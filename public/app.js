/**
 * Roomlog in the browser. A room is a log; this page holds a cursor over it and shows exactly what the log holds.
 *
 * Three layers, each of which knows only the one above it:
 *
 *   Room     one room's piece of the log, merged by sequence. Knows no connection.
 *   Session  the protocol: one connection, its rooms, the outbox. Pure: `now` comes in, effects go out; it touches
 *            no DOM, socket, clock or storage, so the tests run it in Node.
 *   Page     the DOM, the socket, the timers, the storage. Holds no protocol rule.
 *
 * Text from others reaches the document through `textContent` only.
 */

const GROUP_MS = 5 * 60_000; // one sender's messages closer than this share a heading
const LOG_MAX = 5_000; // messages kept per room; older ones are read again from the server
const ASIDES_MAX = 200; // announcements kept per room
const OLDER_LIMIT = 50; // messages asked for when scrolling up
const BACKOFF_BASE_MS = 500;
const BACKOFF_MAX_MS = 30_000;
const STABLE_MS = 10_000; // a connection that lived this long starts the backoff afresh
const CONNECT_TIMEOUT_MS = 10_000;
const PROBE_TIMEOUT_MS = 4_000; // an answer to a ping that asks "are you still there?"
const DEAD_AFTER_HEARTBEATS = 2.5;
const TYPING_REPEAT_MS = 3_000;
const TYPING_IDLE_MS = 4_000;
const TYPING_SHOWN_MS = 7_000;

/** Close codes after which coming back by itself cannot help (PROTOCOL.md, "Close codes"). */
export const isTerminal = (code) =>
  [1000, 1002, 1003, 1007, 1008, 1009].includes(code) || (code >= 4500 && code <= 4999);

/** Full jitter: anything from nothing to the cap, so that a thousand pages do not come back in step. */
export const backoffMs = (attempt, random) => random() * Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** attempt);

export const contentBytes = (text) => new TextEncoder().encode(text).length;

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

// ---------------------------------------------------------------------------------------------------- Room

/**
 * One room as this client sees it.
 *
 * Invariants: `log` is strictly ascending by sequence; a hole in it is one the server reported (damage, or a
 * retention that moved); an outbox entry is gone once the log holds its message.
 */
export class Room {
  constructor(name, { epoch = null, read = null } = {}) {
    this.name = name;
    this.phase = 'out'; // out → joining (join sent) → replaying (acknowledged) → live (caught up)
    this.epoch = epoch;
    this.floor = 1; // earliest sequence the server still holds
    this.log = [];
    this.asides = []; // announcements: not stored, not numbered, shown after the sequence they carry
    this.reset = null; // {after, reason}: why the log was started over
    this.outbox = []; // {nonce, content, at, state: waiting|sent|acked|failed, sequence?, why?}
    this.members = new Map(); // user → status
    this.count = 0;
    this.isPartial = false; // the server lists only some members of a large room
    this.typing = new Map(); // user → shown until
    this.read = read; // last sequence a person has seen; null until the first history
    this.marker = null; // the "new messages" line stands after this sequence
    this.reading = false; // someone looks at the end of this room
    this.askedBefore = null; // an older page was asked for, ending before this sequence
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
    const unseen = this.read === null || (this.log.length === 0 && (epoch !== this.epoch || this.read > head));
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

  /** Takes acknowledged sends off the outbox once the log has passed them. */
  settle() {
    this.outbox = this.outbox.filter((entry) => entry.state !== 'acked' || entry.sequence > this.last);
  }

  aside({ sequence, kind, content, subject, timestamp }) {
    const user = subject ?? null;
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

// ------------------------------------------------------------------------------------------------- Session

/** An edit or a deletion: a place in the log, but no line of its own. */
const isChange = ({ kind }) => kind === 'edit' || kind === 'delete';

const randomNonce = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');

/**
 * One user's conversation with the server, over as many connections as it takes.
 *
 * `link` is the one truth about the connection, and owns what its phase needs:
 *   idle                      no name yet
 *   connecting  {giveUpAt}    the socket is opening
 *   greeting    {giveUpAt}    open; the server is being told the name
 *   naming      {}            open; the server refused the name, a person has to choose another
 *   connected   {since}
 *   waiting     {retryAt}     lost; comes back by itself
 *   stopped     {code, why}   closed for a reason that coming back would repeat
 *
 * Invariants: a room has at most one send in flight, so what was typed first is stored first; nothing is in flight
 * without a connection.
 *
 * Effects, taken with `drain`: {connect: session}, {send: frame}, {disconnect}, {notice}, {askName: why}.
 */
export class Session {
  constructor({ random = Math.random, nonce = randomNonce, saved = {}, tab = {} } = {}) {
    this.random = random;
    this.nonce = nonce;
    this.user = saved.user ?? null; // the name wanted
    this.held = null; // the name the server gave last
    this.token = tab.session ?? null; // resumes name and rooms within the server's grace period
    this.rooms = new Map();
    for (const room of saved.rooms ?? []) this.rooms.set(room.name, new Room(room.name, room));
    for (const [name, outbox] of Object.entries(tab.outbox ?? {})) {
      if (this.rooms.has(name)) this.rooms.get(name).outbox = outbox;
    }
    this.active = this.rooms.has(saved.active) ? saved.active : (this.rooms.keys().next().value ?? null);
    this.link = { phase: 'idle' };
    this.limits = { contentBytes: 4096, roomsPerConnection: 64 };
    this.heartbeatMs = 30_000;
    this.latencyMs = null;
    this.isOnline = true; // as far as the browser knows
    this.attempt = 0;
    this.heardAt = 0;
    this.probeBy = null;
    this.holdUntil = 0; // rate limited: nothing is sent before
    this.commands = new Map(); // id → what was asked, until its ack or error
    this.nextId = 1;
    this.composing = null; // {room, sentAt, idleAt}: others were told that we are typing
    this.isAway = false;
    this.effects = [];
  }

  // -- for the caller: what to do, when to wake, what to keep

  drain() {
    return this.effects.splice(0);
  }

  /** The next moment at which `tick` has something to do; Infinity when there is none. */
  wakeAt() {
    const { link } = this;
    const times = [link.giveUpAt, link.retryAt, this.composing?.idleAt, this.probeBy];
    if (link.phase === 'connected' || link.phase === 'naming') times.push(this.deadAt());
    for (const room of this.rooms.values()) {
      times.push(...room.typing.values());
      if (this.canSend(room) && room.outbox.some((entry) => entry.state === 'waiting')) times.push(this.holdUntil);
    }
    return Math.min(...times.filter((time) => typeof time === 'number'), Infinity);
  }

  /** What every tab shares and a later visit starts from. */
  saved() {
    const rooms = [...this.rooms.values()].map(({ name, epoch, read }) => ({ name, epoch, read }));
    return { user: this.user, active: this.active, rooms };
  }

  /** What belongs to this tab alone and survives its reload. */
  tab() {
    const pending = [...this.rooms.values()].filter((room) => room.outbox.length);
    return { session: this.token, outbox: Object.fromEntries(pending.map((room) => [room.name, room.outbox])) };
  }

  get room() {
    return this.rooms.get(this.active) ?? null;
  }

  get isConnected() {
    return this.link.phase === 'connected';
  }

  get unread() {
    let sum = 0;
    for (const room of this.rooms.values()) sum += room.unread;
    return sum;
  }

  // -- the connection

  /** Goes by `user` from now on: connects, or asks the server for the name over the open connection. */
  start(user, now) {
    this.user = user;
    const { phase } = this.link;
    if (phase === 'connected' || phase === 'naming') this.hello();
    else if (phase !== 'connecting' && phase !== 'greeting') this.connect(now);
  }

  retry(now) {
    if (this.link.phase === 'waiting' || this.link.phase === 'stopped') this.connect(now);
  }

  connect(now) {
    this.link = { phase: 'connecting', giveUpAt: now + CONNECT_TIMEOUT_MS };
    this.effects.push({ connect: this.token });
  }

  opened(now) {
    this.heardAt = now;
    this.link = { phase: 'greeting', giveUpAt: now + CONNECT_TIMEOUT_MS, saidHello: false };
  }

  closed(code, why, now) {
    if (this.link.phase === 'idle' || this.link.phase === 'waiting' || this.link.phase === 'stopped') return;
    this.lose(now, isTerminal(code) ? { phase: 'stopped', code, why } : null);
  }

  /** Everything that held only for the connection ends with it; the cursors and the outbox stay. */
  lose(now, link) {
    if (this.isConnected && now - this.link.since >= STABLE_MS) this.attempt = 0;
    this.link = link ?? { phase: 'waiting', retryAt: now + backoffMs(this.attempt, this.random) };
    this.attempt += 1;
    this.probeBy = null;
    this.latencyMs = null;
    this.composing = null;
    this.commands.clear();
    for (const room of this.rooms.values()) {
      room.phase = 'out';
      room.askedBefore = null;
      room.typing.clear();
      for (const entry of room.outbox) if (entry.state === 'sent') entry.state = 'waiting';
    }
  }

  deadAt() {
    return this.heardAt + DEAD_AFTER_HEARTBEATS * this.heartbeatMs;
  }

  tick(now) {
    const { link } = this;
    if (link.phase === 'waiting' && now >= link.retryAt) this.connect(now);
    const isOpen = link.phase === 'connected' || link.phase === 'naming';
    const isDead = now >= (link.giveUpAt ?? Infinity) || (isOpen && now >= Math.min(this.deadAt(), this.probeBy ?? Infinity));
    if (isDead) {
      this.effects.push({ disconnect: true });
      this.lose(now);
    }
    if (this.composing && now >= this.composing.idleAt) this.stopTyping();
    for (const room of this.rooms.values()) {
      for (const [user, until] of room.typing) if (now >= until) room.typing.delete(user);
      this.pump(room, now);
    }
  }

  /** The browser says that the network came or went. It is a hint: only the connection knows. */
  network(isOnline, now) {
    this.isOnline = isOnline;
    if (isOnline && this.link.phase === 'waiting') this.connect(now);
    else this.probe(now);
  }

  /** The page is looked at again, perhaps after the machine slept: come back at once, or find out. */
  visible(now) {
    if (this.link.phase === 'waiting') this.connect(now);
    else this.probe(now);
  }

  probe(now) {
    if (!this.isConnected) return;
    this.probeBy = now + PROBE_TIMEOUT_MS;
    this.command({ type: 'ping', timestamp: now });
  }

  // -- what a person does

  /** Enters a room, or turns to it when already in. */
  join(name, now) {
    if (!this.rooms.has(name)) {
      if (this.rooms.size >= this.limits.roomsPerConnection) return this.notice('You are in as many rooms as this server allows.');
      this.rooms.set(name, new Room(name));
      if (this.isConnected) this.enter(this.rooms.get(name));
    }
    this.select(name, now);
  }

  select(name) {
    if (name === this.active || !this.rooms.has(name)) return;
    this.stopTyping();
    if (this.room) {
      this.room.setReading(false);
      if (this.room.unread === 0) this.room.marker = null;
    }
    this.active = name;
  }

  leave(name) {
    const room = this.rooms.get(name);
    if (!room) return;
    if (room.phase !== 'out') this.command({ type: 'leave', room: name });
    const names = [...this.rooms.keys()];
    const at = names.indexOf(name);
    this.rooms.delete(name);
    if (this.active === name) this.active = names[at + 1] ?? names[at - 1] ?? null;
  }

  /** Why `content` cannot be sent, or null. */
  refusal(content) {
    if (content.trim() === '') return 'empty';
    const over = contentBytes(content) - this.limits.contentBytes;
    return over > 0 ? `Too long by ${over} ${over === 1 ? 'byte' : 'bytes'}.` : null;
  }

  send(name, content, now) {
    const room = this.rooms.get(name);
    if (this.composing?.room === name) this.composing = null; // the message itself ends it
    room.outbox.push({ nonce: this.nonce(), content, at: now, state: 'waiting' });
    room.marker = null;
    if (room.read !== null) room.read = Math.max(room.read, room.last); // who answers has read
    this.pump(room, now);
  }

  /** Tries a refused send once more, under the same nonce. */
  resend(name, nonce, now) {
    const room = this.rooms.get(name);
    const entry = room.outbox.find((other) => other.nonce === nonce);
    if (entry?.state === 'failed') entry.state = 'waiting';
    this.pump(room, now);
  }

  discard(name, nonce) {
    const room = this.rooms.get(name);
    room.outbox = room.outbox.filter((entry) => entry.nonce !== nonce || entry.state !== 'failed');
  }

  older(name) {
    const room = this.rooms.get(name);
    if (room.phase !== 'live' || room.askedBefore !== null || !room.hasOlder) return;
    room.askedBefore = room.first;
    this.command({ type: 'history', room: name, before: room.first, limit: OLDER_LIMIT }, { kind: 'older', room: name });
  }

  typing(name, now) {
    if (!this.canSend(this.rooms.get(name))) return;
    if (this.composing?.room !== name) this.stopTyping();
    const isDue = !this.composing || now - this.composing.sentAt >= TYPING_REPEAT_MS;
    if (isDue) this.command({ type: 'typing', room: name, isTyping: true });
    this.composing = { room: name, sentAt: isDue ? now : this.composing.sentAt, idleAt: now + TYPING_IDLE_MS };
  }

  stopTyping() {
    if (this.composing) this.command({ type: 'typing', room: this.composing.room, isTyping: false });
    this.composing = null;
  }

  setAway(isAway) {
    if (isAway === this.isAway) return;
    this.isAway = isAway;
    if (this.isConnected) this.command({ type: 'status', status: isAway ? 'away' : 'online' });
  }

  // -- to the server

  /** Sends a command; with `asked` it carries an id, and the ack or error finds its way back to `asked`. */
  command(frame, asked) {
    if (asked) {
      const id = this.nextId++;
      this.commands.set(id, asked);
      frame = { ...frame, id };
    }
    this.effects.push({ send: frame });
  }

  notice(text) {
    this.effects.push({ notice: text });
  }

  hello() {
    this.command({ type: 'hello', user: this.user }, { kind: 'hello' });
  }

  enter(room) {
    room.phase = 'joining';
    room.reading = false; // what the replay brings was missed
    const cursor = room.log.length ? { since: room.last, epoch: room.epoch } : {};
    this.command({ type: 'join', room: room.name, ...cursor }, { kind: 'join', room: room.name, isFresh: !room.log.length });
  }

  canSend(room) {
    return this.isConnected && (room?.phase === 'replaying' || room?.phase === 'live');
  }

  /** Sends the room's next waiting message unless one is in flight. */
  pump(room, now) {
    if (!this.canSend(room) || now < this.holdUntil || room.outbox.some((entry) => entry.state === 'sent')) return;
    const entry = room.outbox.find((other) => other.state === 'waiting');
    if (!entry) return;
    entry.state = 'sent';
    const data = { room: room.name, content: entry.content, nonce: entry.nonce };
    this.command({ type: 'message', data }, { kind: 'message', room: room.name, nonce: entry.nonce });
  }

  // -- from the server

  received({ type, id, data = {} }, now) {
    this.heardAt = now;
    this.probeBy = null;
    const room = this.rooms.get(data.room);
    switch (type) {
      case 'connected':
        return this.onConnected(data, now);
      case 'ack':
        return this.onAck(this.answered(id), data, now);
      case 'error':
        return this.onError(this.answered(id), data, now);
      case 'heartbeat':
        return this.command({ type: 'ping', timestamp: now });
      case 'pong':
        this.latencyMs = Math.max(0, now - data.timestamp);
        return undefined;
      case 'message':
        return room && this.onMessage(room, data, now);
      case 'history':
        return room && this.onHistory(room, data, now);
      case 'presence':
        return room && this.onPresence(room, data);
      case 'status':
        return room && (room.members.has(data.user) || !room.isPartial) && room.setStatus(data.user, data.status);
      case 'typing':
        if (room && data.user !== this.user && data.isTyping) room.typing.set(data.user, now + TYPING_SHOWN_MS);
        else room?.typing.delete(data.user);
        return undefined;
      default:
        return undefined; // a newer server may say more than this page understands
    }
  }

  answered(id) {
    const asked = this.commands.get(id);
    this.commands.delete(id);
    return asked;
  }

  onConnected(data, now) {
    this.token = data.session ?? null;
    this.heartbeatMs = data.heartbeatMs ?? this.heartbeatMs;
    Object.assign(this.limits, data.limits);
    if (this.link.phase === 'greeting' && !this.link.saidHello && data.user !== this.user) {
      this.link.saidHello = true;
      return this.hello();
    }
    this.user = data.user;
    this.held = data.user;
    if (this.isConnected) return undefined; // a change of name; the rooms stay as they are
    this.link = { phase: 'connected', since: now };
    if (this.isAway) this.command({ type: 'status', status: 'away' });
    for (const room of this.rooms.values()) this.enter(room);
    return this.command({ type: 'ping', timestamp: now });
  }

  onAck(asked, data, now) {
    const room = this.rooms.get(asked?.room);
    if (!room) return;
    if (asked.kind === 'join') {
      // An empty room sends no history on a first join; otherwise the cursor catches up in history frames.
      const isEmpty = asked.isFresh && data.head === 0;
      room.phase = isEmpty ? 'live' : 'replaying';
      if (isEmpty) Object.assign(room, { epoch: data.epoch, read: 0 });
    }
    if (asked.kind === 'message') {
      const entry = room.outbox.find((other) => other.nonce === asked.nonce);
      if (entry) Object.assign(entry, { state: 'acked', sequence: data.sequence });
      room.settle();
    }
    this.pump(room, now);
  }

  onError(asked, { code, message, retryAfterMs }, now) {
    if (asked?.kind === 'hello') {
      this.effects.push({ askName: code === 'name_taken' ? `“${this.user}” is in use right now.` : message });
      if (this.isConnected) this.user = this.held;
      else this.link = { phase: 'naming' };
      return;
    }
    const room = this.rooms.get(asked?.room);
    const entry = room?.outbox.find((other) => other.nonce === asked.nonce);
    if (asked?.kind === 'message' && entry) return void this.onSendRefused(room, entry, { code, message, retryAfterMs }, now);
    if (asked?.kind === 'older' && room) room.askedBefore = null;
    if (asked?.kind === 'join' && room) room.phase = 'out';
    if (code === 'bad_room' || code === 'too_many_rooms') this.leave(asked?.room);
    this.notice(message ?? code);
  }

  onSendRefused(room, entry, { code, message, retryAfterMs }, now) {
    if (code === 'rate_limited') {
      entry.state = 'waiting';
      this.holdUntil = now + (retryAfterMs ?? 1_000);
      this.notice('Slow down a little: the rest is sent in a moment.');
    } else if (code === 'not_subscribed') {
      entry.state = 'waiting';
      this.enter(room);
    } else {
      Object.assign(entry, { state: 'failed', why: message ?? code });
      this.notice(`Not sent: ${entry.why}`);
      this.pump(room, now);
    }
  }

  onMessage(room, message, now) {
    if (message.ephemeral) return room.aside(message);
    // A resumed session may deliver from its old cursor until the join is acknowledged; the replay has all of it.
    if (room.phase === 'out' || room.phase === 'joining') return undefined;
    // A hole means that this cursor and the server's have come apart; joining from here mends it.
    if (room.log.length && message.sequence > room.last + 1) return this.enter(room);
    room.read ??= message.sequence - 1;
    room.phase = 'live';
    room.append(message);
    room.settle();
    return this.pump(room, now);
  }

  onHistory(room, frame, now) {
    room.merge(frame);
    if (room.phase === 'replaying' && !frame.more) room.phase = 'live';
    this.pump(room, now);
  }

  onPresence(room, { users, count, more }) {
    room.members = new Map(users.map(({ user, status }) => [user, status]));
    room.count = count ?? users.length;
    room.isPartial = Boolean(more);
  }
}

// ---------------------------------------------------------------------------------------------------- Page

const WINDOW_ROWS = 300; // message rows built at first
const WINDOW_MAX = 500; // and at most, however far one scrolls
const WINDOW_STEP = 100;
const EDGE_PX = 400; // this close to an edge, more is shown
const BOTTOM_PX = 8; // this close to the end counts as at the end
const AWAY_AFTER_MS = 5 * 60_000; // hidden for this long
const NOTICE_MS = 6_000;
const TONES = 10; // avatar colours in style.css

const SUGGESTIONS = {
  first: ['amber', 'brisk', 'calm', 'clever', 'cosy', 'gentle', 'keen', 'lucky', 'mellow', 'nimble', 'quiet', 'sunny'],
  second: ['badger', 'finch', 'fox', 'heron', 'lynx', 'marten', 'otter', 'owl', 'puffin', 'robin', 'seal', 'wren'],
};

const pick = (list) => list[Math.floor(Math.random() * list.length)];
const suggestName = () => `${pick(SUGGESTIONS.first)}-${pick(SUGGESTIONS.second)}-${10 + Math.floor(Math.random() * 90)}`;

const timeFormat = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const fullFormat = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });
const dayFormat = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
const dayOf = (timestamp) => new Date(timestamp).toDateString();

function dayLabel(timestamp, now) {
  if (dayOf(timestamp) === dayOf(now)) return 'Today';
  const yesterday = new Date(now);
  yesterday.setDate(yesterday.getDate() - 1);
  return dayOf(timestamp) === yesterday.toDateString() ? 'Yesterday' : dayFormat.format(timestamp);
}

function toneOf(name) {
  let hash = 0;
  for (const char of name) hash = (hash * 31 + char.codePointAt(0)) >>> 0;
  return hash % TONES;
}

function initialsOf(name) {
  const words = name.split(/[\s._-]+/u).filter((word) => /^\p{L}/u.test(word));
  const letters = words.length > 1 ? [words[0], words[1]].map((word) => [...word][0]) : [...name].slice(0, 2);
  return letters.join('').toUpperCase();
}

/** An element with classes, properties and children. The only maker of nodes: strings become text, never markup. */
function make(tag, className, children = [], properties = {}) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  Object.assign(element, properties);
  element.append(...[children].flat().filter((child) => child !== null));
  return element;
}

const avatar = (user) => make('span', `avatar tone-${toneOf(user)}`, initialsOf(user), { ariaHidden: 'true' });

const INLINE = /```\n?([\s\S]+?)```|`([^`\n]+)`|\*\*([^*\n]+)\*\*|(?<![\w*])\*([^*\s][^*\n]*)\*(?![\w*])|(https?:\/\/[^\s<>"']+)/g;

/** Message text as nodes: code, bold, italic and http(s) links; everything else stays the text it is. */
function rich(content) {
  const nodes = [];
  let end = 0;
  for (const match of content.matchAll(INLINE)) {
    const [whole, block, code, bold, italic, url] = match;
    let node;
    let length = whole.length;
    if (block !== undefined) node = make('pre', '', block);
    else if (code !== undefined) node = make('code', '', code);
    else if (bold !== undefined) node = make('strong', '', bold);
    else if (italic !== undefined) node = make('em', '', italic);
    else {
      const href = url.replace(/[.,;:!?)\]}]+$/, '');
      length = href.length;
      node = make('a', '', href, { href, target: '_blank', rel: 'noopener noreferrer' });
    }
    nodes.push(content.slice(end, match.index), node);
    end = match.index + length;
  }
  nodes.push(content.slice(end));
  return nodes.filter((node) => node !== '');
}

/** Makes `parent` hold exactly `items`, reusing the element of each key while its `sign` stays the same. */
function reconcile(parent, items, cache) {
  const keep = new Set(items.map((item) => item.key));
  for (const [key, held] of cache) {
    if (keep.has(key)) continue;
    held.element.remove();
    cache.delete(key);
  }
  let at = parent.firstElementChild;
  for (const { key, sign, build } of items) {
    const held = cache.get(key);
    if (held?.sign === sign) {
      if (held.element === at) at = at.nextElementSibling;
      else parent.insertBefore(held.element, at);
      continue;
    }
    const element = build();
    cache.set(key, { sign, element });
    if (!held) parent.insertBefore(element, at);
    else {
      if (held.element === at) at = at.nextElementSibling;
      held.element.remove();
      parent.insertBefore(element, at);
    }
  }
}

/** "alice, bob and 3 others joined" for a run of announcements; each user counts with what they did last. */
export function asideText(asides, self) {
  const last = new Map();
  for (const aside of asides) {
    last.delete(aside.user ?? aside.content);
    last.set(aside.user ?? aside.content, aside);
  }
  const phrase = (kind, verb) => {
    const users = [...last.values()].filter((aside) => aside.user !== null && aside.kind === kind);
    const others = users.map(({ user }) => user).filter((user) => user !== self);
    const names = others.length < users.length ? ['You', ...others] : others;
    if (names.length > 3) names.splice(2, Infinity, `${names.length - 2} others`);
    const tail = names.pop();
    return tail === undefined ? [] : [`${names.length ? `${names.join(', ')} and ${tail}` : tail} ${verb}`];
  };
  const other = [...last.values()].filter((aside) => aside.user === null).map((aside) => aside.content);
  return [...phrase('join', 'joined'), ...phrase('leave', 'left'), ...other].join(' · ');
}

const RESETS = {
  epoch_changed: 'The server’s log was restored, and this room’s numbers began anew. Shown is what it holds now.',
  expired: 'Messages you had not seen are older than this server keeps. Shown is what it still holds.',
  ahead: 'The server’s log ends before what was shown here. Shown is what it holds now.',
};

/** What to show of a room, row by row, without a DOM. Every row but a message breaks the grouping by sender. */
class Rows {
  constructor(room, { from, self, now }) {
    Object.assign(this, { room, self, now, rows: [], previous: null });
    const before = (room.log[from]?.sequence ?? 1) - 1;
    this.nextAside = room.asides.findIndex(({ after }) => after >= before);
  }

  breakWith(row) {
    this.rows.push(row);
    this.previous = null;
  }

  day(timestamp) {
    const day = dayOf(timestamp);
    if (this.previous && dayOf(this.previous.timestamp) === day) return;
    if (this.rows.some((row) => row.day === day)) return;
    this.breakWith({ kind: 'day', key: `day ${day}`, day, text: dayLabel(timestamp, this.now) });
  }

  asides(limit) {
    const { asides } = this.room;
    const run = [];
    while (this.nextAside >= 0 && asides[this.nextAside]?.after <= limit) run.push(asides[this.nextAside++]);
    if (run.length) this.breakWith({ kind: 'aside', key: `aside ${run[0].after}`, text: asideText(run, this.self) });
  }

  isHead(user, timestamp) {
    return this.previous?.user !== user || timestamp - this.previous.timestamp > GROUP_MS;
  }

  /** The lines that stand between `before`, the message shown above (or none), and `sequence`. */
  between(before, sequence) {
    const { marker, reset } = this.room;
    const crosses = (position) => position < sequence && (before === undefined || before <= position);
    if (before !== undefined && sequence > before + 1) {
      this.breakWith({ kind: 'gap', key: `gap ${before + 1}`, from: before + 1, to: sequence - 1 });
    }
    if (reset && crosses(reset.after)) this.breakWith({ kind: 'note', key: 'reset', text: RESETS[reset.reason] ?? RESETS.epoch_changed });
    if (marker !== null && crosses(marker)) this.breakWith({ kind: 'marker', key: 'marker' });
  }

  message(message) {
    if (isChange(message)) return;
    this.day(message.timestamp);
    const isHead = this.isHead(message.user, message.timestamp);
    this.rows.push({ kind: 'message', key: message.sequence, message, isHead });
    this.previous = message;
  }

  pending(entry) {
    this.day(entry.at);
    const isHead = this.isHead(this.self, entry.at);
    this.rows.push({ kind: 'pending', key: entry.nonce, entry, isHead });
    this.previous = { user: this.self, timestamp: entry.at };
  }
}

/** The rows of `room.log[from..to]`; with `isTail` also what follows the end: announcements and unsent messages. */
export function rowsOf(room, { from, to, isTail, self, now }) {
  const rows = new Rows(room, { from, self, now });
  const { log } = room;
  if (from === 0 && room.first === 1) rows.breakWith({ kind: 'start', key: 'start' });
  if (from < to) rows.asides(log[from].sequence - 1);
  for (let index = from; index < to; index += 1) {
    rows.between(log[index - 1]?.sequence, log[index].sequence);
    rows.message(log[index]);
    rows.asides(log[index].sequence);
  }
  if (!isTail) return rows.rows;
  if (!log.length) rows.between(undefined, Infinity);
  rows.asides(Infinity);
  for (const entry of room.outbox) rows.pending(entry);
  return rows.rows;
}

const STORE = 'roomlog';

/** Browser storage that may be full, forbidden or hold something else: then it is as if it were empty. */
const store = {
  read(storage) {
    try {
      return JSON.parse(storage.getItem(STORE)) ?? {};
    } catch {
      return {};
    }
  },
  write(storage, value) {
    try {
      storage.setItem(STORE, JSON.stringify(value));
    } catch {
      // Nothing is lost but convenience.
    }
  },
};

class Page {
  constructor() {
    this.ui = Object.fromEntries([...document.querySelectorAll('[id]')].map((element) => [element.id, element]));
    const tab = store.read(sessionStorage);
    // A duplicated tab copies this storage; what is taken out cannot be used twice.
    sessionStorage.removeItem(STORE);
    this.session = new Session({ saved: store.read(localStorage), tab });
    this.drafts = new Map(Object.entries(tab.drafts ?? {}));
    this.socket = null;
    this.shown = null; // {room, from, to, cache}: the part of the active room that is built; `to` null follows the end
    this.isStuck = true; // at the end, and staying there
    this.isDirty = false;
    this.hiddenSince = null;
    this.listen();
  }

  start() {
    const { session } = this;
    const wanted = this.hashRoom();
    if (wanted && session.user) session.join(wanted, Date.now());
    if (session.user && session.rooms.size) session.start(session.user, Date.now());
    else this.askName(null);
    this.after();
  }

  // -- effects: the socket, the timer, the storage

  /** Runs one input through the session and carries out what it asks for. */
  act(input) {
    const result = input(this.session, Date.now());
    this.after();
    return result;
  }

  after() {
    for (const effect of this.session.drain()) this.carryOut(effect);
    clearTimeout(this.timer);
    const wait = this.session.wakeAt() - Date.now();
    if (wait !== Infinity) this.timer = setTimeout(() => this.act((session, now) => session.tick(now)), Math.max(0, wait) + 5);
    this.invalidate();
  }

  carryOut(effect) {
    if ('send' in effect) this.socket?.send(JSON.stringify(effect.send));
    else if ('connect' in effect) this.connect(effect.connect);
    else if ('disconnect' in effect) this.drop();
    else if ('notice' in effect) this.notice(effect.notice);
    else this.askName(effect.askName);
  }

  connect(token) {
    this.drop();
    const url = new URL('ws', document.baseURI);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    url.hash = '';
    if (token) url.searchParams.set('session', token);
    const socket = new WebSocket(url, 'roomlog.v1');
    this.socket = socket;
    const mine = (input) => (event) => this.socket === socket && this.act((session, now) => input(session, event, now));
    socket.onopen = mine((session, _, now) => session.opened(now));
    socket.onmessage = mine((session, { data }, now) => session.received(JSON.parse(data), now));
    socket.onclose = mine((session, { code, reason }, now) => session.closed(code, reason, now));
  }

  /** Lets go of the socket. Not with 1000: that would tell the rooms that this user left. */
  drop() {
    const { socket } = this;
    this.socket = null;
    if (socket && socket.readyState <= WebSocket.OPEN) socket.close(4000);
  }

  save() {
    const saved = this.session.saved();
    const text = JSON.stringify(saved);
    if (text !== this.lastSaved) store.write(localStorage, saved);
    this.lastSaved = text;
  }

  saveTab() {
    store.write(sessionStorage, { ...this.session.tab(), drafts: Object.fromEntries(this.drafts) });
  }

  // -- events

  listen() {
    const { ui } = this;
    const on = (target, type, handler) => target.addEventListener(type, handler);
    on(window, 'online', () => this.act((session, now) => session.network(true, now)));
    on(window, 'offline', () => this.act((session, now) => session.network(false, now)));
    on(window, 'hashchange', () => this.onHash());
    on(window, 'pagehide', () => this.saveTab());
    on(window, 'pageshow', () => sessionStorage.removeItem(STORE));
    on(document, 'visibilitychange', () => this.onVisibility());
    on(document, 'keydown', (event) => this.onKey(event));
    on(ui['welcome-form'], 'submit', (event) => this.onWelcome(event));
    on(ui.welcome, 'cancel', (event) => !this.session.isConnected && event.preventDefault());
    on(ui['room-form'], 'submit', (event) => this.onRoomForm(event));
    on(ui['room-input'], 'input', () => this.invalidate());
    on(ui.composer, 'submit', (event) => this.onSend(event));
    on(ui.text, 'keydown', (event) => this.onTextKey(event));
    on(ui.text, 'input', () => this.onText());
    on(ui.log, 'scroll', () => this.onScroll());
    on(ui.jump, 'click', () => this.jump());
    on(ui.retry, 'click', () => this.act((session, now) => session.retry(now)));
    on(ui.me, 'click', () => this.askName(null));
    for (const side of ['rooms', 'people']) {
      on(ui[`open-${side}`], 'click', () => this.openDrawer(side));
      on(ui[`close-${side}`], 'click', () => this.closeDrawer());
    }
    on(ui.backdrop, 'click', () => this.closeDrawer());
    this.wide = matchMedia('(min-width: 900px)');
    on(this.wide, 'change', () => this.closeDrawer());
    new ResizeObserver(() => this.isStuck && this.toBottom()).observe(ui.log);
    this.closeDrawer();
  }

  hashRoom() {
    try {
      return decodeURIComponent(location.hash.slice(1)).trim();
    } catch {
      return ''; // not an encoding of anything
    }
  }

  onHash() {
    const name = this.hashRoom();
    if (name && name !== this.session.active && this.session.user) this.act((session, now) => session.join(name, now));
  }

  onVisibility() {
    if (document.visibilityState === 'hidden') {
      // A phone may end a hidden page without another word.
      this.saveTab();
      this.awayTimer = setTimeout(() => this.act((session) => session.setAway(true)), AWAY_AFTER_MS);
      this.after();
      return;
    }
    sessionStorage.removeItem(STORE);
    clearTimeout(this.awayTimer);
    this.act((session, now) => {
      session.setAway(false);
      session.visible(now);
    });
  }

  onKey(event) {
    if (event.key === 'Escape' && this.drawer) this.closeDrawer();
    if (event.key.toLowerCase() === 'k' && (event.ctrlKey || event.metaKey) && !this.ui.welcome.open) {
      event.preventDefault();
      if (!this.wide.matches) this.openDrawer('rooms');
      this.ui['room-input'].focus();
      this.ui['room-input'].select();
    }
  }

  askName(why) {
    const { ui, session } = this;
    ui['welcome-name'].value = session.user ?? suggestName();
    ui['welcome-room'].value = session.active ?? (this.hashRoom() || 'general');
    ui['welcome-room'].closest('label').hidden = session.rooms.size > 0;
    ui['welcome-why'].textContent = why ?? '';
    ui['welcome-name'].ariaInvalid = String(why !== null);
    if (!ui.welcome.open) ui.welcome.showModal();
    ui['welcome-name'].focus();
    ui['welcome-name'].select();
  }

  onWelcome(event) {
    event.preventDefault();
    const { ui } = this;
    const name = ui['welcome-name'].value.trim();
    if (!name) return;
    const room = ui['welcome-room'].value.trim().replace(/^#/, '') || 'general';
    ui.welcome.close();
    this.act((session, now) => {
      if (!session.rooms.size) session.join(room, now);
      if (name !== session.user || !session.isConnected) session.start(name, now);
    });
    ui.text.focus();
  }

  onRoomForm(event) {
    event.preventDefault();
    const input = this.ui['room-input'];
    const wanted = input.value.trim().replace(/^#/, '');
    if (!wanted) return;
    input.value = '';
    this.enter(wanted);
  }

  enter(name) {
    this.act((session, now) => session.join(name, now));
    this.closeDrawer();
    this.ui.text.focus();
  }

  onSend(event) {
    event?.preventDefault();
    const { ui, session } = this;
    const content = ui.text.value.trimEnd();
    const refusal = session.refusal(content);
    if (!session.room || refusal === 'empty') return;
    if (refusal) {
      this.notice(refusal);
      return;
    }
    this.setText('');
    this.isStuck = true;
    if (this.shown) this.shown.to = null;
    this.act((_, now) => session.send(session.active, content, now));
    ui.text.focus();
  }

  onTextKey(event) {
    // While an input method composes, Enter chooses a candidate (keyCode 229 in browsers that end composition first).
    const isComposing = event.isComposing || event.keyCode === 229;
    if (event.key === 'Enter' && !event.shiftKey && !isComposing) this.onSend(event);
    if (event.key === 'Tab' && !event.shiftKey && this.completeName()) event.preventDefault();
  }

  /** Completes the word before the caret to a member's name; false when there is nothing to complete. */
  completeName() {
    const { text } = this.ui;
    const head = text.value.slice(0, text.selectionStart);
    const word = /@?([^\s@]+)$/u.exec(head)?.[1]?.toLowerCase();
    const names = [...(this.session.room?.members.keys() ?? [])];
    const name = word && names.find((other) => other !== this.session.user && other.toLowerCase().startsWith(word));
    if (!name) return false;
    const isFirst = head.length === word.length;
    text.setRangeText(`${name}${isFirst ? ': ' : ' '}`, text.selectionStart - word.length, text.selectionStart, 'end');
    this.onText();
    return true;
  }

  onText() {
    const { ui, session } = this;
    this.drafts.set(session.active, ui.text.value);
    this.fitText();
    this.act((_, now) => (ui.text.value ? session.typing(session.active, now) : session.stopTyping()));
  }

  setText(value) {
    this.ui.text.value = value;
    if (value) this.drafts.set(this.session.active, value);
    else this.drafts.delete(this.session.active);
    this.fitText();
  }

  fitText() {
    const { text } = this.ui;
    text.style.height = 'auto';
    text.style.height = `${text.scrollHeight}px`;
    this.invalidate();
  }

  notice(text) {
    this.ui.notice.textContent = text;
    clearTimeout(this.noticeTimer);
    this.noticeTimer = setTimeout(() => this.ui.notice.replaceChildren(), NOTICE_MS);
  }

  openDrawer(side) {
    this.drawer = side;
    this.showDrawer();
    this.ui[`close-${side}`].focus();
  }

  closeDrawer() {
    const was = this.drawer;
    this.drawer = null;
    this.showDrawer();
    if (was && !this.wide.matches) this.ui[`open-${was}`].focus();
  }

  /** On a narrow screen the side panes are drawers; a closed one is out of reach of keyboard and screen reader. */
  showDrawer() {
    const { ui } = this;
    for (const side of ['rooms', 'people']) {
      ui[side].classList.toggle('open', this.drawer === side);
      ui[side].inert = !this.wide.matches && this.drawer !== side;
      ui[`open-${side}`].ariaExpanded = String(this.drawer === side);
    }
    ui.main.inert = Boolean(this.drawer);
    ui.backdrop.hidden = !this.drawer;
  }

  // -- the log's window

  get isAtBottom() {
    const { log } = this.ui;
    return this.shown?.to === null && log.scrollHeight - log.scrollTop - log.clientHeight < BOTTOM_PX;
  }

  toBottom() {
    this.ui.log.scrollTop = this.ui.log.scrollHeight;
  }

  jump() {
    this.shown = null;
    this.isStuck = true;
    this.invalidate();
    this.ui.text.focus();
  }

  onScroll() {
    this.isStuck = this.isAtBottom;
    this.extend();
    this.invalidate();
  }

  /** Shows more at an edge that is about to come into view. */
  extend() {
    const { log } = this.ui;
    const { room } = this.session;
    if (!room?.log.length || this.shown?.room !== room) return;
    if (log.scrollTop < EDGE_PX) this.showOlder(room);
    if (log.scrollHeight - log.scrollTop - log.clientHeight < EDGE_PX) this.showNewer(room);
  }

  showOlder({ name, log, hasOlder, askedBefore }) {
    const { shown } = this;
    const from = lowerBound(log, shown.from);
    if (from > 0) {
      const start = Math.max(0, from - WINDOW_STEP);
      shown.from = log[start].sequence;
      const to = shown.to === null ? log.length : lowerBound(log, shown.to + 1);
      if (to - start > WINDOW_MAX) shown.to = log[start + WINDOW_MAX - 1].sequence;
      this.invalidate();
    } else if (hasOlder && askedBefore === null) this.act((session) => session.older(name));
  }

  showNewer({ log }) {
    const { shown } = this;
    if (shown.to === null) return;
    const to = Math.min(log.length, lowerBound(log, shown.to + 1) + WINDOW_STEP);
    shown.to = to === log.length ? null : log[to - 1].sequence;
    shown.from = Math.max(shown.from, log[Math.max(0, to - WINDOW_MAX)].sequence);
    this.invalidate();
  }

  /** The indexes to build now. A window that follows the end slides along with it; one that does not stays put. */
  windowOf(room) {
    const { log } = room;
    if (this.shown?.room !== room) {
      this.shown = { room, from: null, to: null };
      this.isStuck = room.marker === null;
    }
    const { shown } = this;
    if (shown.from === null && log.length) {
      const unreadAt = room.marker === null ? log.length : lowerBound(log, room.marker + 1);
      shown.from = log[Math.max(0, Math.min(unreadAt - 20, log.length - WINDOW_ROWS))].sequence;
    }
    let from = shown.from === null ? 0 : lowerBound(log, shown.from);
    let to = shown.to === null ? log.length : lowerBound(log, shown.to + 1);
    if (room.first && shown.from !== null && shown.from > room.last) from = 0; // the log was started over
    if (to - from > WINDOW_MAX) {
      if (this.isStuck) from = to - WINDOW_ROWS;
      else to = from + WINDOW_MAX;
    }
    if (from < to) shown.from = log[from].sequence;
    if (to < log.length) shown.to = log[to - 1].sequence;
    return { from, to, isTail: to === log.length };
  }

  // -- drawing: the whole page from the state, at most once a frame

  invalidate() {
    if (this.isDirty) return;
    this.isDirty = true;
    const draw = () => {
      this.isDirty = false;
      this.draw();
    };
    // A hidden page gets no animation frames, but its title counts unread messages.
    if (document.visibilityState === 'hidden') setTimeout(draw, 250);
    else requestAnimationFrame(draw);
  }

  draw() {
    this.drawLog();
    this.drawRooms();
    this.drawPeople();
    this.drawLink();
    this.drawComposer();
    this.save();
  }

  drawLog() {
    const { ui, session } = this;
    const { room } = session;
    if (!room) {
      this.shown = null;
      ui.rows.replaceChildren();
      this.rowCache = new Map();
      return;
    }
    const isNew = this.shown?.room !== room;
    if (isNew) {
      this.rowCache = new Map();
      ui.rows.replaceChildren();
      this.setText(this.drafts.get(room.name) ?? '');
      const hash = `#${encodeURIComponent(room.name)}`;
      if (location.hash !== hash) history[location.hash ? 'pushState' : 'replaceState'](null, '', hash);
    }
    const range = this.windowOf(room);
    const items = rowsOf(room, { ...range, self: session.user, now: Date.now() }).map((row) => this.itemOf(row));
    const anchor = this.isStuck ? null : this.anchor();
    const isPrepended = !isNew && items.length && this.rowCache.size && !this.rowCache.has(items[0].key);
    // History that is read again must not be read aloud.
    ui.log.setAttribute('aria-live', isNew || isPrepended || room.phase !== 'live' ? 'off' : 'polite');
    reconcile(ui.rows, items, this.rowCache);
    ui.empty.hidden = items.length > 0;
    if (this.isStuck) this.toBottom();
    else if (isNew) this.rowCache.get('marker')?.element.scrollIntoView({ block: 'start' });
    else if (anchor && this.rowCache.has(anchor.key)) {
      ui.log.scrollTop += this.rowCache.get(anchor.key).element.offsetTop - anchor.top;
    }
    this.extend();
    this.isStuck = this.isAtBottom;
    const isSettled = room.phase === 'live' || room.phase === 'out';
    room.setReading(this.isStuck && isSettled && document.visibilityState === 'visible');
    ui.jump.hidden = this.isStuck;
    ui.jump.textContent = room.unread ? `Jump to latest (${room.unread})` : 'Jump to latest';
  }

  /**
   * The topmost message in view and where it stands: what must not move when rows come or go above it. By key, not by
   * element: a row is built anew when a heading above it appears or goes.
   */
  anchor() {
    const { log, rows } = this.ui;
    for (const element of rows.children) {
      const isInView = element.offsetTop + element.offsetHeight > log.scrollTop;
      if (isInView && element.dataset.sequence) return { key: Number(element.dataset.sequence), top: element.offsetTop };
    }
    return null;
  }

  itemOf(row) {
    const { key, kind } = row;
    if (kind === 'message') {
      const { edited, deleted } = row.message;
      const sign = `${row.isHead} ${edited?.sequence} ${deleted?.sequence}`;
      return { key, sign, build: () => this.messageRow(row.message, row.isHead) };
    }
    if (kind === 'pending') {
      const { state } = row.entry;
      return { key, sign: `${state} ${row.isHead}`, build: () => this.pendingRow(row.entry, row.isHead) };
    }
    if (kind === 'gap') {
      const text = row.from === row.to ? `Message ${row.from} is` : `Messages ${row.from}–${row.to} are`;
      return { key, sign: text, build: () => make('li', 'line gap', `${text} not available`) };
    }
    const text = { marker: 'New messages', start: `This is where #${this.session.active} begins` }[kind] ?? row.text;
    return { key, sign: text, build: () => make('li', `line ${kind}`, make('span', '', text)) };
  }

  messageRow({ user, content, timestamp, sequence, edited, deleted }, isHead) {
    const date = new Date(timestamp);
    const properties = { dateTime: date.toISOString(), title: `${fullFormat.format(date)} · message ${sequence}` };
    const time = make('time', '', timeFormat.format(date), properties);
    const row = this.rowOf({ user, content, time, isHead }, deleted ? 'message deleted' : 'message');
    const body = row.querySelector('.body');
    if (deleted) body.replaceChildren(make('em', '', 'Message deleted'));
    else if (edited) body.append(make('small', 'edited', ' (edited)'));
    row.dataset.sequence = sequence;
    return row;
  }

  rowOf({ user, content, time, isHead }, className) {
    const isOwn = user === this.session.user;
    const body = make('div', 'body', rich(content), { dir: 'auto' });
    const name = make('span', `name tone-${toneOf(user)}`, user);
    const head = isHead ? make('div', 'who', [name, time]) : make('div', 'who again', [make('span', 'hidden', user), time]);
    const classes = `${className}${isHead ? ' head' : ''}${isOwn ? ' own' : ''}`;
    return make('li', classes, [isHead ? avatar(user) : null, head, body]);
  }

  pendingRow(entry, isHead) {
    const { session } = this;
    const isFailed = entry.state === 'failed';
    const time = make('span', 'state', isFailed ? `Not sent: ${entry.why}` : 'sending…');
    const row = this.rowOf({ user: session.user, content: entry.content, time, isHead }, `message pending ${entry.state}`);
    if (!isFailed) return row;
    const room = session.active;
    const again = () => this.act((_, now) => session.resend(room, entry.nonce, now));
    const away = () => this.act(() => session.discard(room, entry.nonce));
    const button = (text, onclick) => make('button', 'quiet', text, { type: 'button', onclick });
    row.append(make('div', 'actions', [button('Try again', again), button('Discard', away)]));
    return row;
  }

  drawRooms() {
    const { ui, session } = this;
    const typed = ui['room-input'].value.trim().replace(/^#/, '').toLowerCase();
    const rooms = [...session.rooms.values()].filter((room) => room.name.toLowerCase().includes(typed));
    const items = rooms.map((room) => {
      const isActive = room.name === session.active;
      return { key: room.name, sign: `${isActive} ${room.unread}`, build: () => this.roomItem(room, isActive) };
    });
    this.roomCache ??= new Map();
    reconcile(ui['room-list'], items, this.roomCache);
    ui['room-go'].textContent = !typed || session.rooms.has(typed) ? 'Go' : 'Join';
    const name = session.active;
    ui.title.textContent = name ?? 'No room';
    document.title = `${session.unread ? `(${session.unread}) ` : ''}${name ? `#${name} · ` : ''}Roomlog`;
  }

  roomItem(room, isActive) {
    const { name, unread } = room;
    const badge = unread ? make('span', 'badge', unread > 99 ? '99+' : String(unread)) : null;
    badge?.setAttribute('aria-label', `${unread} unread`);
    const go = make('button', 'room', [make('span', 'label', name), badge], { type: 'button', onclick: () => this.enter(name) });
    if (isActive) go.setAttribute('aria-current', 'page');
    const leave = make('button', 'leave', '×', { type: 'button', title: `Leave #${name}`, ariaLabel: `Leave ${name}` });
    leave.onclick = () => this.act((session) => session.leave(name));
    return make('li', isActive ? 'active' : unread ? 'unread' : '', [go, leave]);
  }

  drawPeople() {
    const { ui, session } = this;
    const { room } = session;
    const rank = { online: 0, away: 1, offline: 2 };
    const members = [...(room?.members ?? [])].sort(
      ([a, x], [b, y]) => (rank[x] ?? 2) - (rank[y] ?? 2) || a.localeCompare(b),
    );
    const items = members.map(([user, status]) => ({
      key: user,
      sign: `${status} ${user === session.user}`,
      build: () => {
        const label = make('span', 'label', user === session.user ? [user, make('small', '', ' you')] : user);
        const state = make('small', 'status', status === 'online' ? [make('span', 'hidden', 'online')] : status);
        return make('li', status, [avatar(user), label, state]);
      },
    }));
    this.peopleCache ??= new Map();
    reconcile(ui['people-list'], items, this.peopleCache);
    const hidden = (room?.count ?? 0) - members.length;
    ui['people-more'].textContent = room?.isPartial && hidden > 0 ? `and ${hidden} more` : '';
    const count = room?.count ?? 0;
    const size = count ? `${count} ${count === 1 ? 'member' : 'members'}` : '';
    // On a phone the state of the connection stands in a closed drawer: here is where it is seen.
    ui.count.textContent = session.isConnected ? size : this.linkText().text;
    ui['people-count'].textContent = count || '';
    ui['me-name'].textContent = session.user ?? '';
    ui['me-avatar'].replaceChildren(...(session.user ? [avatar(session.user)] : []));
  }

  /** The state of the connection in words, and whether a person can do something about it. */
  linkText() {
    const { link, isOnline, latencyMs } = this.session;
    const seconds = Math.max(1, Math.ceil((link.retryAt - Date.now()) / 1000));
    switch (link.phase) {
      case 'idle':
      case 'naming':
        return { state: 'idle', text: 'Choose a name' };
      case 'connecting':
      case 'greeting':
        return { state: 'connecting', text: 'Connecting…' };
      case 'connected':
        return { state: 'connected', text: 'Connected', detail: latencyMs === null ? '' : `${latencyMs} ms` };
      case 'waiting':
        if (!isOnline) return { state: 'offline', text: 'Offline', banner: 'You are offline. What you write is kept and sent later.' };
        return { state: 'reconnecting', text: 'Reconnecting', banner: `Connection lost. Reconnecting in ${seconds} s` };
      default:
        return { state: 'stopped', text: 'Disconnected', banner: `Disconnected by the server: ${link.why || `code ${link.code}`}` };
    }
  }

  drawLink() {
    const { ui } = this;
    const { state, text, detail = '', banner = '' } = this.linkText();
    ui.app.dataset.link = state;
    // Written only when it changes: these are live regions.
    if (ui['link-text'].textContent !== text) ui['link-text'].textContent = text;
    ui['link-detail'].textContent = detail;
    ui.banner.hidden = !banner;
    ui['banner-text'].textContent = banner;
    clearTimeout(this.countdown);
    if (state === 'reconnecting') this.countdown = setTimeout(() => this.invalidate(), 250);
  }

  drawComposer() {
    const { ui, session } = this;
    const { room } = session;
    const users = [...(room?.typing.keys() ?? [])];
    const who = users.length > 2 ? 'Several people' : users.join(' and ');
    const typing = users.length ? `${who} ${users.length === 1 ? 'is' : 'are'} typing…` : '';
    if (ui.typing.textContent !== typing) ui.typing.textContent = typing;
    ui.text.disabled = !room;
    ui.text.placeholder = room ? `Message #${room.name}` : 'Join a room to write';
    const left = session.limits.contentBytes - contentBytes(ui.text.value);
    ui.left.textContent = left < 200 ? String(left) : '';
    ui.left.classList.toggle('over', left < 0);
    ui.send.disabled = !room || !ui.text.value.trim() || left < 0;
  }
}

if (typeof document !== 'undefined') new Page().start();
