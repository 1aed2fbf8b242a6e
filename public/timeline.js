/**
 * The log's window: the part of the active room that is built, and where it is scrolled to.
 *
 * Owns: which rows exist, that the row in view does not move, following the end. Must never know: a rule of the protocol.
 */

import { avatar, make, reconcile, toneOf } from './dom.js';
import { lowerBound } from './room.js';
import { rowsOf } from './rows.js';
import { rich } from './text.js';
import { Tools } from './tools.js';

const WINDOW_ROWS = 300; // message rows built at first
const WINDOW_MAX = 500; // and at most, however far one scrolls
const WINDOW_STEP = 100;
const EDGE_PX = 400; // this close to an edge, more is shown
const BOTTOM_PX = 8; // this close to the end counts as at the end
const FOLLOW_MS = 400; // for so long a scroll that the browser still animates does not lead away from the end
const HUSH_MS = 500; // for so long a screen reader may come late to rows that it is not to read

const timeFormat = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const fullFormat = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });

/** Where a row's text stands in the log, whether or not there is a heading above it. */
const textTop = (row) => row.offsetTop + row.querySelector('.body').offsetTop;

export class Timeline {
  constructor(page) {
    Object.assign(this, { page, ui: page.ui, session: page.session });
    this.shown = null; // {room, from, to}: the part of the active room that is built; `to` null follows the end
    this.isStuck = true; // at the end, and staying there
    this.tools = new Tools(page);
    this.followUntil = 0; // the end was asked for, and is held until then or until a hand is on the log
    this.first = Infinity; // the first message that the last draw showed
    this.wasLive = false; // the last draw showed the end of a room that had caught up
    this.cache = new Map(); // key → {sign, element} of the rows that are built
    page.on(this.ui.log, 'scroll', () => this.onScroll());
    for (const type of ['keydown', 'pointerdown', 'wheel']) page.on(this.ui.log, type, () => (this.followUntil = 0));
    page.on(this.ui.jump, 'click', () => this.jump());
    new ResizeObserver(() => this.isStuck && this.toBottom()).observe(this.ui.log);
  }

  get isAtBottom() {
    const { log } = this.ui;
    return this.shown?.to === null && log.scrollHeight - log.scrollTop - log.clientHeight < BOTTOM_PX;
  }

  toBottom() {
    this.ui.log.scrollTop = this.ui.log.scrollHeight;
  }

  /** Shows the end, and stays there. */
  follow() {
    if (this.shown) Object.assign(this.shown, { from: null, to: null });
    this.isStuck = true;
    this.page.invalidate();
  }

  jump() {
    this.follow();
    this.followUntil = Date.now() + FOLLOW_MS;
    this.ui.text.focus();
  }

  onScroll() {
    this.isStuck = this.isAtBottom || Date.now() < this.followUntil;
    this.extend();
    this.page.invalidate();
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
      this.page.invalidate();
    } else if (hasOlder && askedBefore === null) this.page.act((session) => session.older(name));
  }

  showNewer({ log }) {
    const { shown } = this;
    if (shown.to === null) return;
    const to = Math.min(log.length, lowerBound(log, shown.to + 1) + WINDOW_STEP);
    shown.to = to === log.length ? null : log[to - 1].sequence;
    shown.from = Math.max(shown.from, log[Math.max(0, to - WINDOW_MAX)].sequence);
    this.page.invalidate();
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

  draw() {
    const { ui, session } = this;
    const { room } = session;
    if (!room) {
      this.shown = null;
      ui.rows.replaceChildren();
      this.cache = new Map();
      return;
    }
    const isNew = this.shown?.room !== room;
    if (isNew) {
      this.cache = new Map();
      ui.rows.replaceChildren();
    }
    const range = this.windowOf(room);
    const items = rowsOf(room, { ...range, self: session.user, now: Date.now() }).map((row) => this.itemOf(row));
    const anchor = this.isStuck ? null : this.anchor();
    const first = room.log[range.from]?.sequence ?? Infinity;
    const isPrepended = first < this.first;
    this.first = first;
    const isLive = room.phase === 'live' && range.isTail;
    if (isNew || isPrepended || !isLive || !this.wasLive) this.hush();
    this.wasLive = isLive;
    reconcile(ui.rows, items, this.cache);
    ui.empty.hidden = items.length > 0;
    ui.empty.textContent = room.peer === null ? 'Nothing here yet. Say the first word.' : `Only ${room.peer} will read this. Say the first word.`;
    if (this.isStuck) this.toBottom();
    else if (isNew) this.cache.get('marker')?.element.scrollIntoView({ block: 'start' });
    else if (anchor && this.cache.has(anchor.key)) {
      ui.log.scrollTop += textTop(this.cache.get(anchor.key).element) - anchor.top;
    }
    this.extend();
    this.isStuck = this.isAtBottom || Date.now() < this.followUntil;
    const isSettled = room.phase === 'live' || room.phase === 'out';
    room.setReading(this.isStuck && isSettled && document.visibilityState === 'visible');
    ui.jump.hidden = this.isStuck;
    ui.jump.textContent = room.unread ? `Jump to latest (${room.unread})` : 'Jump to latest';
  }

  /** What is read again must not be read aloud: only what is added to the end of a room that had caught up is news. */
  hush() {
    const { log } = this.ui;
    log.ariaLive = 'off';
    clearTimeout(this.hushed);
    this.hushed = setTimeout(() => (log.ariaLive = 'polite'), HUSH_MS);
  }

  /**
   * The topmost message in view and where its text stands: what must not move when rows come or go above it. By key, not
   * by element: a row is built anew when its heading appears or goes.
   */
  anchor() {
    const { log, rows } = this.ui;
    for (const element of rows.children) {
      const isInView = element.offsetTop + element.offsetHeight > log.scrollTop;
      if (isInView && element.dataset.sequence) return { key: Number(element.dataset.sequence), top: textTop(element) };
    }
    return null;
  }

  itemOf(row) {
    const { key, kind, isHead } = row;
    if (kind === 'message') {
      const { message, change } = row;
      const sign = `${isHead} ${message.edited?.sequence} ${message.deleted?.sequence} ${change?.nonce} ${change?.state}`;
      return { key, sign, build: () => this.messageRow(message, change, isHead) };
    }
    if (kind === 'pending') return { key, sign: `${row.entry.state} ${isHead}`, build: () => this.pendingRow(row.entry, isHead) };
    if (kind === 'gap') {
      const text = row.from === row.to ? `Message ${row.from} is` : `Messages ${row.from}–${row.to} are`;
      return { key, sign: text, build: () => make('li', 'line gap', `${text} not available`) };
    }
    const text = row.text ?? 'New messages';
    return { key, sign: text, build: () => make('li', `line ${kind}`, make('span', '', text)) };
  }

  messageRow({ user, content, timestamp, sequence, edited, deleted }, change, isHead) {
    const date = new Date(timestamp);
    const properties = { dateTime: date.toISOString(), title: `${fullFormat.format(date)} · message ${sequence}` };
    const time = make('time', '', timeFormat.format(date), properties);
    const isPending = change && change.state !== 'failed';
    const text = isPending && change.kind === 'edit' ? change.content : content;
    const classes = `message${deleted ? ' deleted' : ''}${isPending ? ' changing' : ''}`;
    const row = this.rowOf({ user, content: text, time, isHead }, classes);
    const body = row.querySelector('.body');
    if (deleted) body.replaceChildren(make('em', '', 'Message deleted'));
    else if (isPending) body.append(make('small', 'edited', change.kind === 'edit' ? ' (saving…)' : ' (deleting…)'));
    else if (edited) body.append(make('small', 'edited', ' (edited)'));
    if (change?.state === 'failed') row.append(this.failure(change));
    row.dataset.sequence = sequence;
    row.tabIndex = -1;
    return row;
  }

  rowOf({ user, content, time, isHead }, className) {
    const isOwn = user === this.session.user;
    const body = make('div', 'body', rich(content, isOwn ? null : this.session.user), { dir: 'auto' });
    const name = make('span', `name tone-${toneOf(user)}`, user);
    const head = isHead ? make('div', 'who', [name, time]) : make('div', 'who again', [make('span', 'hidden', user), time]);
    const classes = `${className}${isHead ? ' head' : ''}${isOwn ? ' own' : ''}`;
    return make('li', classes, [isHead ? avatar(user) : null, head, body]);
  }

  pendingRow(entry, isHead) {
    const isFailed = entry.state === 'failed';
    const time = make('span', 'state', isFailed ? '' : 'sending…');
    const row = this.rowOf({ user: this.session.user, content: entry.content, time, isHead }, `message pending ${entry.state}`);
    if (isFailed) row.append(this.failure(entry));
    return row;
  }

  /** Why something was not sent, and what to do about it. */
  failure({ nonce, why }) {
    const room = this.session.active;
    const again = () => this.page.act((session, now) => session.resend(room, nonce, now));
    const away = () => this.page.act((session) => session.discard(room, nonce));
    const button = (text, onclick) => make('button', 'quiet', text, { type: 'button', onclick });
    const state = make('span', 'state', `Not sent: ${why}`);
    return make('div', 'actions', [state, button('Try again', again), button('Discard', away)]);
  }
}
