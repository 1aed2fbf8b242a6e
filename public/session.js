/**
 * The protocol: one user's conversation with the server (PROTOCOL.md).
 *
 * Owns: the link's state, the rooms, the outbox, what is asked of the server and what its answers mean. Pure: `now`
 * comes in, effects go out. Must never know: a socket, a clock, storage, the document; so the tests run it in Node.
 */

import { Room, isChange } from './room.js';

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
 * Effects, taken with `drain`: {connect: session}, {send: frame}, {disconnect}, {notice}, {askName: why}, {news: {room,
 * message}}: somebody else said this just now; what a replay brings is no news.
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
    const isNews = room.append(message) && message.user !== this.user && !isChange(message);
    if (isNews) this.effects.push({ news: { room, message } });
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
