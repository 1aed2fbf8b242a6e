/**
 * The panes beside the log: rooms, members, the state of the connection.
 *
 * Owns: both lists, and the drawers that they are on a narrow screen. Must never know: a rule of the protocol.
 */

import { avatar, make, reconcile } from './dom.js';

const OFFLINE = { state: 'offline', text: 'Offline', banner: 'You are offline. What you write is kept and sent later.' };

const WIDE = '(min-width: 900px)'; // as in style.css: three panes from here on

export class Sidebar {
  constructor(page) {
    Object.assign(this, { page, ui: page.ui, session: page.session });
    const { ui } = this;
    this.drawer = null; // the side whose drawer is open
    this.rooms = new Map(); // caches of the lists
    this.talks = new Map();
    this.people = new Map();
    for (const side of ['rooms', 'people']) {
      page.on(ui[`open-${side}`], 'click', () => this.openDrawer(side));
      page.on(ui[`close-${side}`], 'click', () => this.closeDrawer());
    }
    page.on(ui.backdrop, 'click', () => this.closeDrawer());
    page.on(ui.retry, 'click', () => page.act((session, now) => session.retry(now)));
    this.wide = matchMedia(WIDE);
    page.on(this.wide, 'change', () => this.closeDrawer());
    this.closeDrawer();
  }

  draw() {
    this.drawRooms();
    this.drawPeople();
    this.drawLink();
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

  drawRooms() {
    const { ui, session } = this;
    this.drawDirect();
    const rooms = [...session.rooms.values()].filter(({ peer }) => peer === null);
    reconcile(ui['room-list'], rooms.map((room) => this.itemOf(room)), this.rooms);
    const { room, unread } = session;
    ui.app.toggleAttribute('data-private', room !== null && room.peer !== null);
    ui.sigil.textContent = room?.sigil ?? '#';
    ui.title.textContent = room?.title ?? 'No room';
    document.title = `${unread ? `(${unread}) ` : ''}${room ? `${room.sigil}${room.title} · ` : ''}Roomlog`;
  }

  drawDirect() {
    const { ui, session } = this;
    const talks = [...session.rooms.values()].filter(({ peer }) => peer !== null);
    reconcile(ui['direct-list'], talks.map((room) => this.itemOf(room)), this.talks);
    ui['direct-caption'].hidden = !talks.length;
  }

  itemOf(room) {
    const isActive = room.name === this.session.active;
    return { key: room.name, sign: `${isActive} ${room.unread}`, build: () => this.roomItem(room, isActive) };
  }

  roomItem(room, isActive) {
    const { name, title, unread, peer } = room;
    const badge = unread ? make('span', 'badge', unread > 99 ? '99+' : String(unread)) : null;
    badge?.setAttribute('aria-label', `${unread} unread`);
    const go = make('button', 'room', [make('span', peer === null ? 'label' : 'label private', title), badge], { type: 'button', onclick: () => this.page.enter(name) });
    if (isActive) go.setAttribute('aria-current', 'page');
    const leave = make('button', 'leave', '×', { type: 'button', title: peer === null ? `Leave #${title}` : 'Close', ariaLabel: `${peer === null ? 'Leave' : 'Close'} ${title}` });
    leave.onclick = () => {
      this.page.act((session) => session.leave(name));
      if (!this.session.rooms.size) this.page.switcher.open(); // the only thing left to do
    };
    return make('li', isActive ? 'active' : unread ? 'unread' : '', [go, leave]);
  }

  drawPeople() {
    const { ui, session } = this;
    const { room } = session;
    const rank = { online: 0, away: 1, offline: 2 };
    const members = [...session.membersOf(room)].sort(
      ([a, x], [b, y]) => (rank[x] ?? 2) - (rank[y] ?? 2) || a.localeCompare(b),
    );
    const items = members.map(([user, status]) => ({
      key: user,
      sign: `${status} ${user === session.user}`,
      build: () => {
        const label = make('span', 'label', user === session.user ? [user, make('small', '', ' you')] : user);
        const state = make('small', 'status', status === 'online' ? [make('span', 'hidden', 'online')] : status);
        const parts = [avatar(user), label, state];
        if (user === session.user) return make('li', status, make('div', 'member', parts));
        const properties = { type: 'button', title: `Write to ${user} privately`, onclick: () => this.page.talkTo(user) };
        return make('li', status, make('button', 'member', parts, properties));
      },
    }));
    reconcile(ui['people-list'], items, this.people);
    const count = room?.peer === null ? room.count : members.length;
    ui['people-more'].textContent = room?.isPartial && count > members.length ? `and ${count - members.length} more` : '';
    const size = room && room.peer !== null ? 'Private' : count ? `${count} ${count === 1 ? 'member' : 'members'}` : '';
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
        // A try without a network is no news.
        return isOnline ? { state: 'connecting', text: 'Connecting…' } : OFFLINE;
      case 'connected':
        return { state: 'connected', text: 'Connected', detail: latencyMs === null ? '' : `${latencyMs} ms` };
      case 'waiting':
        if (!isOnline) return OFFLINE;
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
    if (state === 'reconnecting') this.countdown = setTimeout(() => this.page.invalidate(), 250);
  }

}
