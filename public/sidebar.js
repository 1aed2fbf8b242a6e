/**
 * The panes beside the log: rooms, members, the state of the connection.
 *
 * Owns: both lists, and the drawers that they are on a narrow screen. Must never know: a rule of the protocol.
 */

import { avatar, make, reconcile } from './dom.js';

const WIDE = '(min-width: 900px)'; // as in style.css: three panes from here on

export class Sidebar {
  constructor(page) {
    Object.assign(this, { page, ui: page.ui, session: page.session });
    const { ui } = this;
    this.drawer = null; // the side whose drawer is open
    this.rooms = new Map(); // caches of the lists
    this.people = new Map();
    for (const side of ['rooms', 'people']) {
      page.on(ui[`open-${side}`], 'click', () => this.openDrawer(side));
      page.on(ui[`close-${side}`], 'click', () => this.closeDrawer());
    }
    page.on(ui['room-form'], 'submit', (event) => this.onRoomForm(event));
    page.on(ui['room-input'], 'input', () => page.invalidate());
    page.on(ui.backdrop, 'click', () => this.closeDrawer());
    page.on(ui.retry, 'click', () => page.act((session, now) => session.retry(now)));
    this.wide = matchMedia(WIDE);
    page.on(this.wide, 'change', () => this.closeDrawer());
    this.closeDrawer();
  }

  /** Opens the place where rooms are found. */
  find() {
    if (!this.wide.matches) this.openDrawer('rooms');
    this.ui['room-input'].focus();
    this.ui['room-input'].select();
  }

  onRoomForm(event) {
    event.preventDefault();
    const input = this.ui['room-input'];
    const wanted = input.value.trim().replace(/^#/, '');
    if (!wanted) return;
    input.value = '';
    this.page.enter(wanted);
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
    const typed = ui['room-input'].value.trim().replace(/^#/, '').toLowerCase();
    const rooms = [...session.rooms.values()].filter((room) => room.name.toLowerCase().includes(typed));
    const items = rooms.map((room) => {
      const isActive = room.name === session.active;
      return { key: room.name, sign: `${isActive} ${room.unread}`, build: () => this.roomItem(room, isActive) };
    });
    reconcile(ui['room-list'], items, this.rooms);
    ui['room-go'].textContent = !typed || session.rooms.has(typed) ? 'Go' : 'Join';
    const name = session.active;
    ui.title.textContent = name ?? 'No room';
    document.title = `${session.unread ? `(${session.unread}) ` : ''}${name ? `#${name} · ` : ''}Roomlog`;
  }

  roomItem(room, isActive) {
    const { name, unread } = room;
    const badge = unread ? make('span', 'badge', unread > 99 ? '99+' : String(unread)) : null;
    badge?.setAttribute('aria-label', `${unread} unread`);
    const go = make('button', 'room', [make('span', 'label', name), badge], { type: 'button', onclick: () => this.page.enter(name) });
    if (isActive) go.setAttribute('aria-current', 'page');
    const leave = make('button', 'leave', '×', { type: 'button', title: `Leave #${name}`, ariaLabel: `Leave ${name}` });
    leave.onclick = () => {
      this.page.act((session) => session.leave(name));
      if (!this.session.rooms.size) this.find(); // the only thing left to do
    };
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
    reconcile(ui['people-list'], items, this.people);
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
    if (state === 'reconnecting') this.countdown = setTimeout(() => this.page.invalidate(), 250);
  }

}
