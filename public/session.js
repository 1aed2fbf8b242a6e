/**
 * The protocol: one user's conversation with the server (PROTOCOL.md).
 *
 * Owns: the link's state, the rooms, the outbox, what is asked of the server and what its answers mean. Pure: `now`
 * comes in, effects go out. Must never know: a socket, a clock, storage, the document; so the tests run it in Node.
 */

import { FLEETING, Room, isChange } from './room.js';

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
const LOG_IN = 4500; // close code: only who logs in can come back

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
 * Effects, taken with `drain`: {connect: session}, {send: frame}, {disconnect}, {notice}, {askName: why}, {askLogin: why},
 * {keep: room} and {forget: room} (the account is to know that it is in a room, or not any more), {revoke: token},
 * {news: {room, message}} (somebody else said this just now; what a replay brings is no news).
 */
export class Session {
  constructor({ random = Math.random, nonce = randomNonce, saved = {}, tab = {}, unsent = [] } = {}) {
    this.random = random;
    this.nonce = nonce;
    this.user = saved.user ?? null; // the name wanted
    this.token = saved.token ?? null; // proves that it is the account's; null for a guest
    this.held = null; // the name the server gave last
    this.role = null; // the account's, once the server knows it
    this.resume = tab.session ?? null; // brings back name and rooms within the server's grace period
    this.rooms = new Map();
    for (const room of saved.rooms ?? []) this.rooms.set(room.name, new Room(room.name, room));
    this.hasBeenHere = Boolean(saved.token); // what a returning account has not seen is unread
    this.left = new Set(saved.left); // rooms that the account does not know to be left
    this.dismissed = new Set(); // private conversations that were closed on this page
    for (const { user, room, ...entry } of unsent) if (user === this.user) this.adopt(room, entry);
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
    this.isAwayByHand = false;
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
    const lasting = [...this.rooms.values()].filter((room) => !room.isFleeting);
    const rooms = lasting.map(({ name, epoch, read, peer, isKept }) => ({ name, epoch, read, peer, isKept }));
    return { user: this.user, token: this.token, active: this.active, rooms, left: [...this.left] };
  }

  /** What belongs to this tab alone and survives its reload. */
  tab() {
    return { session: this.resume, user: this.user, token: this.token };
  }

  /** What is not in the log yet. Any later page of this user can send it: its nonce makes that harmless. */
  unsent() {
    const { user } = this;
    return [...this.rooms.values()].flatMap((room) =>
      room.outbox.map(({ sequence, ...entry }) => ({ user, room: room.name, ...entry })),
    );
  }

  /** Takes over what an earlier page did not get sent. */
  adopt(name, entry) {
    const room = name.startsWith(FLEETING) ? this.fleeting(name.slice(FLEETING.length)) : this.rooms.get(name);
    if (!room) return;
    room.outbox.push(entry);
    if (entry.state !== 'failed') this.unsend(room, entry);
  }

  /** What was on its way when the connection ended is sent again. */
  unsend(room, entry) {
    // Of a fleeting conversation no log tells whether it arrived, and no nonce keeps it from arriving twice.
    const isLost = room.isFleeting && entry.state !== 'waiting';
    Object.assign(entry, isLost ? { state: 'failed', why: 'the connection was lost; it may have arrived' } : { state: 'waiting' });
  }

  get room() {
    return this.rooms.get(this.active) ?? null;
  }

  /** Who is in the room, with their status; in a private conversation the two, whether or not they are looking at it. */
  membersOf(room) {
    if (!room || room.peer === null) return room?.members ?? new Map();
    const statuses = [...this.rooms.values()].map(({ members }) => members.get(room.peer));
    const status = ['online', 'away'].find((one) => statuses.includes(one)) ?? 'offline';
    return new Map([[this.user, this.isAway ? 'away' : 'online'], [room.peer, status]]);
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

  /**
   * Goes by `user` from now on, with `token` as that account: connects, or tells the server over the open connection.
   */
  start(user, now, token = null) {
    this.user = user;
    this.token = token;
    if (!token) this.dropPrivate();
    const { phase } = this.link;
    if (phase === 'connected' || phase === 'naming') this.hello();
    else if (phase !== 'connecting' && phase !== 'greeting') this.connect(now);
  }

  retry(now) {
    if (this.link.phase === 'waiting' || this.link.phase === 'stopped') this.connect(now);
  }

  /** Gives the account's login back, and stops. */
  logout() {
    this.effects.push({ revoke: this.token }, { disconnect: true }, { askName: null });
    this.lose(0, { phase: 'idle' });
    this.attempt = 0;
    this.user = null;
    this.forgetLogin();
  }

  /** Another's private conversations are nobody's business. */
  forgetLogin() {
    Object.assign(this, { token: null, role: null, resume: null, hasBeenHere: false, left: new Set() });
    this.dropPrivate();
    for (const room of this.rooms.values()) room.isKept = false;
  }

  dropPrivate() {
    for (const room of [...this.rooms.values()]) if (room.peer !== null && !room.isFleeting) this.remove(room.name);
  }

  connect(now) {
    this.link = { phase: 'connecting', giveUpAt: now + CONNECT_TIMEOUT_MS };
    this.effects.push({ connect: this.resume });
  }

  opened(now) {
    this.heardAt = now;
    this.link = { phase: 'greeting', giveUpAt: now + CONNECT_TIMEOUT_MS, saidHello: false };
  }

  closed(code, why, now) {
    if (this.link.phase === 'idle' || this.link.phase === 'waiting' || this.link.phase === 'stopped') return;
    this.lose(now, isTerminal(code) ? { phase: 'stopped', code, why } : null);
    if (code !== LOG_IN) return;
    const was = this.token ? 'Your login is over.' : 'Here, one needs an account.';
    this.forgetLogin();
    this.effects.push({ askLogin: was });
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
      for (const entry of room.outbox) if (entry.state === 'sent') this.unsend(room, entry);
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
    if (name.startsWith(FLEETING)) return this.talkTo(name.slice(FLEETING.length));
    if (!this.rooms.has(name)) {
      if (this.rooms.size >= this.limits.roomsPerConnection) return this.notice('You are in as many rooms as this server allows.');
      const room = this.add(new Room(name));
      this.left.delete(name);
      if (this.isConnected) this.enter(room);
      this.keep(room);
    }
    return this.select(name, now);
  }

  add(room) {
    this.rooms.set(room.name, room);
    return room;
  }

  /** The account is to know that it is in this room, on whatever device it comes next. */
  keep(room) {
    if (this.role !== null && room.peer === null && !room.isKept) this.effects.push({ keep: room.name });
  }

  /** Turns to the private conversation with `user`, which begins with the first word said in it. */
  talkTo(user) {
    if (user === this.user) return;
    const known = [...this.rooms.values()].find(({ peer }) => peer === user);
    this.select((known ?? this.fleeting(user)).name);
  }

  /** The conversation with `user` as long as no log is known to hold it. */
  fleeting(user) {
    const name = FLEETING + user;
    return this.rooms.get(name) ?? this.add(Object.assign(new Room(name, { peer: user, read: 0 }), { phase: 'live' }));
  }

  /** The conversation with `user` that the log of room `name` holds; it takes the place of one that none held. */
  conversation(name, user, read) {
    const known = this.rooms.get(name);
    if (known) return Object.assign(known, { peer: user });
    const room = this.add(new Room(name, { peer: user, read }));
    const before = this.rooms.get(FLEETING + user);
    if (before) {
      room.outbox = before.outbox;
      this.rooms.delete(before.name);
      if (this.active === before.name) this.active = name;
    }
    this.dismissed.delete(name);
    if (this.isConnected) this.enter(room);
    return room;
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
    if (room.peer !== null) this.dismissed.add(name);
    else if (this.token) this.forget(name);
    this.part(room);
  }

  forget(name) {
    this.left.add(name);
    if (this.role !== null) this.effects.push({ forget: name });
  }

  part(room) {
    if (room.phase !== 'out' && !room.isFleeting) this.command({ type: 'leave', room: room.name });
    this.remove(room.name);
  }

  remove(name) {
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
    if (room.isFleeting && !this.isConnected) this.notice('A private message to a guest waits until you are connected again.');
    room.marker = null;
    if (room.read !== null) room.read = Math.max(room.read, room.last); // who answers has read
    this.pump(room, now);
  }

  /** Whether the message may be changed: `edit` it, or `delete` it. The server decides; this is what is offered. */
  may(what, room, { sequence, user, deleted }) {
    if (room.isFleeting || deleted || room.changeOf(sequence)) return false;
    return user === this.user || (what === 'delete' && this.role === 'admin');
  }

  /** Changes a message, by a change that is sent like one. */
  edit(name, target, content, now) {
    this.change(name, { kind: 'edit', target, content }, now);
  }

  delete(name, target, now) {
    this.change(name, { kind: 'delete', target, content: '' }, now);
  }

  change(name, what, now) {
    const room = this.rooms.get(name);
    room.outbox.push({ nonce: this.nonce(), ...what, at: now, state: 'waiting' });
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
    const room = this.rooms.get(name);
    if (!this.canSend(room) || room.isFleeting) return;
    if (this.composing?.room !== name) this.stopTyping();
    const isDue = !this.composing || now - this.composing.sentAt >= TYPING_REPEAT_MS;
    if (isDue) this.command({ type: 'typing', room: name, isTyping: true });
    this.composing = { room: name, sentAt: isDue ? now : this.composing.sentAt, idleAt: now + TYPING_IDLE_MS };
  }

  stopTyping() {
    if (this.composing) this.command({ type: 'typing', room: this.composing.room, isTyping: false });
    this.composing = null;
  }

  /** Away, or here again. What a person chose by hand is not undone by looking at the page. */
  setAway(isAway, byHand = false) {
    if (byHand) this.isAwayByHand = isAway;
    if (isAway === this.isAway || (this.isAwayByHand && !isAway)) return;
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
    this.command({ type: 'hello', ...(this.token ? { token: this.token } : { user: this.user }) }, { kind: 'hello' });
  }

  enter(room) {
    if (room.isFleeting) {
      room.phase = 'live';
      return;
    }
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
    this.command(this.frameOf(room, entry), { kind: 'message', room: room.name, nonce: entry.nonce });
  }

  frameOf(room, { nonce, kind, target, content }) {
    const where = { room: room.name };
    if (room.isFleeting) return { type: 'private', to: room.peer, content, nonce };
    if (kind === 'delete') return { type: 'delete', ...where, sequence: target };
    if (kind === 'edit') return { type: 'edit', ...where, sequence: target, content, nonce };
    return { type: 'message', data: { ...where, content, nonce } };
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
      case 'private':
        return this.onPrivate(data, now);
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
    this.resume = data.session ?? null;
    this.heartbeatMs = data.heartbeatMs ?? this.heartbeatMs;
    Object.assign(this.limits, data.limits);
    const isWanted = data.user === this.user && Boolean(data.role) === Boolean(this.token);
    if (this.link.phase === 'greeting' && !this.link.saidHello && !isWanted) {
      this.link.saidHello = true;
      return this.hello();
    }
    this.user = data.user;
    this.held = data.user;
    this.role = data.role ?? null;
    this.onAccount(data);
    if (this.isConnected) return undefined; // a change of name; the rooms stay as they are
    this.link = { phase: 'connected', since: now };
    if (this.isAway) this.command({ type: 'status', status: 'away' });
    for (const room of this.rooms.values()) {
      this.enter(room);
      this.pump(room, now);
    }
    return this.command({ type: 'ping', timestamp: now });
  }

  /** Brings the rooms in line with those that the account keeps: a room may have been joined or left on another device. */
  onAccount({ role, rooms = [], direct = [] }) {
    if (!role) return;
    const kept = new Set(rooms);
    for (const room of [...this.rooms.values()]) {
      if (room.peer !== null) continue;
      if (room.isKept && !kept.has(room.name)) this.part(room);
      else this.keep(room);
    }
    const hasSpace = () => this.rooms.size < this.limits.roomsPerConnection;
    const enter = (room) => this.isConnected && room.phase === 'out' && this.enter(room);
    for (const name of this.left) this.forget(name);
    for (const name of rooms) {
      if (this.left.has(name)) continue;
      if (!this.rooms.has(name) && hasSpace()) enter(this.add(new Room(name)));
      if (this.rooms.has(name)) this.rooms.get(name).isKept = true;
    }
    for (const { room, user } of direct) {
      if (this.dismissed.has(room) || !(this.rooms.has(room) || hasSpace())) continue;
      this.conversation(room, user, this.hasBeenHere ? 0 : null);
    }
    this.hasBeenHere = true;
    this.active ??= this.rooms.keys().next().value ?? null;
  }

  /** The account knows that it is in this room, or not any more. */
  kept(name) {
    const room = this.rooms.get(name);
    if (room) room.isKept = true;
  }

  forgotten(name) {
    this.left.delete(name);
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
    if (asked.kind === 'message' && room.isFleeting) return this.onPrivateAck(room, asked.nonce, data, now);
    if (asked.kind === 'message') {
      const entry = room.outbox.find((other) => other.nonce === asked.nonce);
      if (entry) Object.assign(entry, { state: 'acked', sequence: data.sequence });
      room.settle();
    }
    return this.pump(room, now);
  }

  /** The answer to the first words of a conversation says whether a log holds it. */
  onPrivateAck(room, nonce, data, now) {
    const entry = room.outbox.find((other) => other.nonce === nonce);
    if (data.room) {
      const kept = this.conversation(data.room, room.peer, data.sequence - 1);
      if (entry) Object.assign(entry, { state: 'acked', sequence: data.sequence });
      return kept.settle();
    }
    // Acknowledged, and then said: what is shown is what came back.
    if (entry) entry.state = 'acked';
    return this.pump(room, now);
  }

  onError(asked, { code, message, retryAfterMs }, now) {
    if (asked?.kind === 'hello') {
      if (code === 'bad_token') this.effects.push({ askLogin: message });
      else this.effects.push({ askName: message ?? code });
      if (this.token) this.forgetLogin();
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
    } else if (code === 'no_such_message' && entry.kind === 'delete') {
      room.outbox.splice(room.outbox.indexOf(entry), 1); // somebody else was faster
      this.pump(room, now);
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
    if (room.append(message)) this.news(room, message);
    room.settle();
    return this.pump(room, now);
  }

  /** A private message that came to the user, not to a room this page is in: it may be the first. */
  onPrivate(message, now) {
    const user = message.from === this.user ? message.to : message.from;
    const said = { ...message, user: message.from };
    if (message.room) return this.news(this.conversation(message.room, user, message.sequence - 1), said);
    const room = this.fleeting(user);
    room.append({ ...said, sequence: room.last + 1 });
    this.news(room, said);
    return this.pump(room, now);
  }

  news(room, message) {
    if (message.user !== this.user && !isChange(message)) this.effects.push({ news: { room, message } });
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
