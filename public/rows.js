/**
 * What to show of a room, row by row.
 *
 * Owns: grouping, day headings, the lines between messages and their words. Must never know: the document.
 */

import { isChange } from './room.js';

const GROUP_MS = 5 * 60_000; // one sender's messages closer than this share a heading

const dayFormat = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
const dayOf = (timestamp) => new Date(timestamp).toDateString();

function dayLabel(timestamp, now) {
  if (dayOf(timestamp) === dayOf(now)) return 'Today';
  const yesterday = new Date(now);
  yesterday.setDate(yesterday.getDate() - 1);
  return dayOf(timestamp) === yesterday.toDateString() ? 'Yesterday' : dayFormat.format(timestamp);
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

function startText({ name, peer, isFleeting }) {
  if (peer === null) return `This is where #${name} begins`;
  return isFleeting ? `Only you and ${peer} see this, and nobody keeps it` : `Only you and ${peer} can read this`;
}

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
    const change = this.room.changeOf(message.sequence);
    this.rows.push({ kind: 'message', key: message.sequence, message, change, isHead });
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
  if (from === 0 && room.first === 1) rows.breakWith({ kind: 'start', key: 'start', text: startText(room) });
  if (from < to) rows.asides(log[from].sequence - 1);
  for (let index = from; index < to; index += 1) {
    rows.between(log[index - 1]?.sequence, log[index].sequence);
    rows.message(log[index]);
    rows.asides(log[index].sequence);
  }
  if (!isTail) return rows.rows;
  if (!log.length) rows.between(undefined, Infinity);
  rows.asides(Infinity);
  for (const entry of room.outbox) if (entry.target === undefined) rows.pending(entry);
  return rows.rows;
}
