// The page's protocol without a browser: a session with a scripted server.

import { importPage } from './harness.js';

export const { Room, Session, asideText, backoffMs, isTerminal, lowerBound, rowsOf } = await importPage();

export const message = (sequence, fields = {}) => ({
  id: `m${sequence}`, room: 'general', user: 'bob', content: `line ${sequence}`, sequence, timestamp: 1_000 * sequence, ...fields,
});
export const messages = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => message(from + index));
export const sequences = (room) => room.log.map(({ sequence }) => sequence);
export const range = (from, to) => messages(from, to).map(({ sequence }) => sequence);

/** A session with a scripted server: `take` gives the frames sent since, `answer` feeds frames in. */
export class Desk {
  constructor(options = {}) {
    this.now = 0;
    let nonces = 0;
    this.session = new Session({ random: () => 1, nonce: () => `n${(nonces += 1)}`, ...options });
  }

  take() {
    return this.session.drain().flatMap((effect) => ('send' in effect && effect.send.type !== 'ping' ? [effect.send] : []));
  }

  effects(kind) {
    return this.session.drain().filter((effect) => kind in effect);
  }

  answer(type, data = {}, id = undefined) {
    this.session.received({ type, data, id }, this.now);
  }

  /** Connects as alice; the server gives `user` first. */
  connect(user = 'alice') {
    this.session.start('alice', this.now);
    return this.arrive(user);
  }

  arrive(user = 'alice') {
    this.session.drain();
    this.session.opened(this.now);
    this.answer('connected', { user, session: 's1', heartbeatMs: 1_000, limits: { contentBytes: 10, roomsPerConnection: 3 } });
    return this;
  }

  /** Joins `general`, whose log has `head` messages, and catches up. */
  enter(head = 0) {
    this.session.join('general', this.now);
    return this.caughtUp(head);
  }

  caughtUp(head) {
    const join = this.take().find(({ type }) => type === 'join');
    this.answer('ack', { room: 'general', epoch: 'e1', head }, join.id);
    const missed = messages((join.since ?? 0) + 1, head);
    if (head || join.since !== undefined) this.history({ messages: missed, head });
    return this;
  }

  history(fields) {
    this.answer('history', { room: 'general', messages: [], epoch: 'e1', floor: 1, head: 0, more: false, ...fields });
  }

  get room() {
    return this.session.rooms.get('general');
  }
}
