/**
 * The way to any room: a dialog that one types into.
 *
 * Owns: which rooms match and in what order, the list and the keys of the combobox. Must never know: how one enters a room.
 */

import { api } from './api.js';
import { make, reconcile } from './dom.js';
import { store } from './store.js';

const VISITS = 'roomlog visits';

/** How well a title matches that holds what is sought at `at`: 0 the same, 1 its beginning, 2 that of a word in it, 3. */
function rankOf({ title, at, end }) {
  if (at === 0) return end < title.length ? 1 : 0;
  return /[\p{L}\p{N}]/u.test(title[at - 1]) ? 3 : 2;
}

/**
 * The rooms to choose from, best first: own ones by their last visit, then those `listed` by the server, then the one
 * that was typed. `#` asks for rooms only, `@` for people only. While nothing is typed, the room one is in comes last of
 * one's own: there is no need to go there. What matched stands from `at` to `end` in the title.
 */
export function choices({ rooms, active, visits, listed, typed }) {
  const [, sigil, wanted] = /^([#@]?)\s*(.*)$/s.exec(typed.trim());
  const age = ({ name }) => (name === active && !wanted ? Infinity : visits.indexOf(name) >>> 0); // never: −1, thus huge
  const own = [...rooms.values()].sort((a, b) => age(a) - age(b));
  const others = listed.filter(({ room }) => !rooms.has(room)).sort((a, b) => b.members - a.members);
  const found = [
    ...own.map(({ name, sigil, title, unread }) => ({ name, sigil, title, unread, isHere: name === active })),
    ...others.map(({ room, members }) => ({ name: room, sigil: '#', title: room, members })),
  ]
    .map((choice) => {
      const at = choice.title.toLowerCase().indexOf(wanted.toLowerCase());
      return { ...choice, at, end: at + wanted.length };
    })
    .filter((choice) => choice.at >= 0 && (!sigil || sigil === choice.sigil))
    .sort((a, b) => rankOf(a) - rankOf(b));
  const isNew = wanted && sigil !== '@' && !found.some(({ name }) => name === wanted);
  return isNew ? [...found, { name: wanted, sigil: '#', title: wanted, at: 0, end: 0, isNew }] : found;
}

export class Switcher {
  constructor(page) {
    Object.assign(this, { page, ui: page.ui, session: page.session });
    const { ui } = this;
    this.visits = store.read(localStorage, VISITS).rooms ?? []; // names, the last visited first
    this.listed = []; // the server's rooms, as of when this was opened
    this.choices = [];
    this.chosen = null; // the name of the room that Enter opens
    this.cache = new Map();
    this.isMac = /^(Mac|iP)/.test(navigator.platform);
    if (this.isMac) ui.shortcut.textContent = '⌘K';
    page.on(document, 'keydown', (event) => this.onShortcut(event));
    page.on(ui.find, 'click', () => this.open());
    page.on(ui['switcher-close'], 'click', () => ui.switcher.close());
    page.on(ui.switcher, 'click', ({ target }) => target === ui.switcher && ui.switcher.close()); // its backdrop
    page.on(ui['switcher-input'], 'keydown', (event) => this.onInputKey(event));
    page.on(ui['switcher-input'], 'input', () => this.onInput());
    // The text keeps the focus, whatever one clicks on.
    page.on(ui['switcher-list'], 'mousedown', (event) => event.preventDefault());
    page.on(ui['switcher-list'], 'click', ({ target }) => this.go(target.closest('[role=option]')?.dataset.room));
  }

  onShortcut(event) {
    const isHeld = this.isMac ? event.metaKey : event.ctrlKey;
    if (event.key?.toLowerCase() !== 'k' || !isHeld || event.shiftKey || event.altKey) return;
    const { switcher } = this.ui;
    if (!switcher.open && document.querySelector('dialog[open]')) return;
    event.preventDefault();
    if (switcher.open) switcher.close();
    else this.open();
  }

  open() {
    this.ui['switcher-input'].value = '';
    this.ui.switcher.showModal(); // which gives the focus back when it closes
    this.onInput();
    this.list();
  }

  async list() {
    try {
      this.listed = await api.rooms(this.session.token);
      this.draw();
    } catch {
      // One can still go to any room.
    }
  }

  onInput() {
    this.chosen = null; // the best match
    this.draw();
    this.ui['switcher-list'].scrollTop = 0;
  }

  onInputKey(event) {
    if (event.isComposing || event.keyCode === 229) return; // an input method's own keys
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === 'Enter') this.go(this.chosen);
    else if (step) this.move(step);
    else return;
    event.preventDefault();
  }

  move(step) {
    const { length } = this.choices;
    if (!length) return;
    const at = this.choices.findIndex(({ name }) => name === this.chosen);
    this.chosen = this.choices[(at + step + length) % length].name;
    this.draw();
    this.cache.get(this.chosen).element.scrollIntoView({ block: 'nearest' });
  }

  go(name) {
    if (!name) return;
    this.ui.switcher.close();
    this.page.enter(name);
  }

  /** Notes which room is looked at, and keeps the open list in step with what is typed and with what happens. */
  draw() {
    const { ui, listed } = this;
    const { rooms, active } = this.session;
    if (active !== null && this.visits[0] !== active) {
      this.visits = [active, ...this.visits.filter((name) => name !== active && rooms.has(name))];
      store.write(localStorage, { rooms: this.visits }, VISITS);
    }
    if (!ui.switcher.open) return;
    const input = ui['switcher-input'];
    this.choices = choices({ rooms, active, visits: this.visits, listed, typed: input.value });
    if (!this.choices.some(({ name }) => name === this.chosen)) this.chosen = this.choices[0]?.name ?? null;
    const items = this.choices.map((choice) => ({ key: choice.name, sign: JSON.stringify(choice), build: () => this.option(choice) }));
    reconcile(ui['switcher-list'], items, this.cache);
    let current = '';
    this.choices.forEach(({ name }, index) => {
      const { element } = this.cache.get(name);
      element.id = `choice-${index}`;
      element.ariaSelected = String(name === this.chosen);
      if (name === this.chosen) current = element.id;
    });
    input.ariaExpanded = String(items.length > 0);
    input.setAttribute('aria-activedescendant', current);
  }

  option({ name, sigil, title, at, end, unread, members, isHere, isNew }) {
    const parts = [make('span', 'sigil', sigil), title.slice(0, at), make('b', '', title.slice(at, end)), title.slice(end)];
    const label = make('span', 'label', isNew ? ['Join ', ...parts] : parts);
    const size = members === undefined ? '' : `${members} ${members === 1 ? 'member' : 'members'}`;
    const note = unread
      ? make('span', 'badge', [unread > 99 ? '99+' : String(unread), make('span', 'hidden', ' unread')])
      : make('small', 'muted', isHere ? 'you are here' : size);
    const option = make('li', '', [label, note], { role: 'option' });
    option.dataset.room = name;
    return option;
  }
}
