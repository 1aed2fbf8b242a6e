/**
 * Roomlog in the browser. A room is a log; this page holds a cursor over it and shows exactly what the log holds.
 *
 *   room.js      one room's piece of the log
 *   session.js   the protocol, pure
 *   rows.js      what to show of a room
 *   timeline.js, sidebar.js, composer.js, door.js, switcher.js, notify.js   views, which draw the session's state
 *   app.js       the socket, the timers, the storage: carries out what the session asks for
 */

import { api } from './api.js';
import { Composer } from './composer.js';
import { Account } from './account.js';
import { Door } from './door.js';
import { Notifier } from './notify.js';
import { Session } from './session.js';
import { Sidebar } from './sidebar.js';
import { Memory, store, Unsent } from './store.js';
import { Switcher } from './switcher.js';
import { Timeline } from './timeline.js';

const AWAY_AFTER_MS = 5 * 60_000; // hidden for this long

class Page {
  constructor() {
    this.ui = Object.fromEntries([...document.querySelectorAll('[id]')].map((element) => [element.id, element]));
    const tab = store.read(sessionStorage);
    // A duplicated tab copies this storage; what is taken out cannot be used twice.
    store.clear(sessionStorage);
    this.unsent = new Unsent(localStorage);
    this.memory = new Memory(localStorage);
    this.session = new Session({ saved: this.memory.load(tab), tab, unsent: this.unsent.load() });
    this.socket = null;
    this.isDirty = false;
    this.timeline = new Timeline(this);
    this.sidebar = new Sidebar(this);
    this.composer = new Composer(this, tab.drafts);
    this.door = new Door(this);
    this.account = new Account(this);
    this.switcher = new Switcher(this);
    this.notifier = new Notifier(this);
    this.listen();
  }

  start() {
    const { session } = this;
    const wanted = this.hashRoom();
    if (wanted && session.user) session.join(wanted, Date.now());
    if (session.user && session.rooms.size) session.start(session.user, Date.now(), session.token);
    else this.door.open('guest');
    this.after();
  }

  on(target, type, handler) {
    target.addEventListener(type, handler);
  }

  // -- effects: the socket, the timer, the storage

  /** Runs one input through the session and carries out what it asks for. */
  act(input) {
    const result = input(this.session, Date.now());
    this.after();
    return result;
  }

  after() {
    this.unsent.sync(this.session.unsent());
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
    else if ('notice' in effect) this.composer.notice(effect.notice);
    else if ('askName' in effect) this.door.open('guest', effect.askName);
    else if ('askLogin' in effect) this.door.open('login', effect.askLogin);
    else if ('news' in effect) this.notifier.onNews(effect.news);
    else this.tell(effect);
  }

  /** Tells the server over HTTP. What fails here is asked again with the next connection. */
  async tell({ keep, forget, revoke }) {
    const { token } = this.session;
    try {
      if (revoke) await api.logout(revoke);
      else if (forget !== undefined) await api.forget(token, forget);
      else await api.keep(token, keep);
    } catch {
      return;
    }
    if (keep !== undefined) this.act((session) => session.kept(keep));
    if (forget !== undefined) this.act((session) => session.forgotten(forget));
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

  saveTab() {
    store.write(sessionStorage, { ...this.session.tab(), drafts: Object.fromEntries(this.composer.drafts) });
  }

  // -- events

  listen() {
    this.on(window, 'online', () => this.act((session, now) => session.network(true, now)));
    this.on(window, 'offline', () => this.act((session, now) => session.network(false, now)));
    this.on(window, 'hashchange', () => this.onHash());
    this.on(window, 'pagehide', () => this.saveTab());
    this.on(window, 'pageshow', () => store.clear(sessionStorage));
    this.on(document, 'visibilitychange', () => this.onVisibility());
    this.on(document, 'keydown', (event) => this.onKey(event));
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
      // From now on, not from when the page is drawn next: what comes is unread.
      this.act((session) => session.room?.setReading(false));
      return;
    }
    store.clear(sessionStorage);
    clearTimeout(this.awayTimer);
    this.act((session, now) => {
      session.setAway(false);
      session.visible(now);
    });
  }

  onKey({ key }) {
    // A dialog over an open drawer closes alone.
    if (key === 'Escape' && !document.querySelector('dialog[open]')) this.sidebar.closeDrawer();
  }

  enter(name) {
    this.turnTo((session, now) => session.join(name, now));
  }

  talkTo(user) {
    this.turnTo((session) => session.talkTo(user));
  }

  turnTo(input) {
    this.act(input);
    this.sidebar.closeDrawer();
    // On a touch screen the focus would bring a keyboard over what one came to read.
    if (!matchMedia('(pointer: coarse)').matches) this.ui.text.focus();
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
    this.timeline.draw();
    this.sidebar.draw();
    this.composer.draw();
    this.switcher.draw();
    this.notifier.draw();
    this.drawAddress();
    this.memory.save(this.session.saved());
  }

  /** The room's own URL, so that it can be shared, kept, and gone back to. */
  drawAddress() {
    const { active } = this.session;
    // Written when the room changes, not at every draw: that could undo an address that is about to be gone to.
    if (active === this.addressed) return;
    this.addressed = active;
    const hash = active && `#${encodeURIComponent(active)}`;
    if (hash && location.hash !== hash) history[location.hash ? 'pushState' : 'replaceState'](null, '', hash);
  }
}

new Page().start();
