/**
 * Who one is: the dialog that asks. A guest says a name; an account logs in, or is made.
 *
 * Owns: its fields and words. Must never know: how the server decides.
 */

import { api } from './api.js';

const SUGGESTIONS = {
  first: ['amber', 'brisk', 'calm', 'clever', 'cosy', 'gentle', 'keen', 'lucky', 'mellow', 'nimble', 'quiet', 'sunny'],
  second: ['badger', 'finch', 'fox', 'heron', 'lynx', 'marten', 'otter', 'owl', 'puffin', 'robin', 'seal', 'wren'],
};

const pick = (list) => list[Math.floor(Math.random() * list.length)];
const suggestName = () => `${pick(SUGGESTIONS.first)}-${pick(SUGGESTIONS.second)}-${10 + Math.floor(Math.random() * 90)}`;

const WAYS = {
  guest: { words: 'Pick a name. What is said here stays in the log, so you can leave and find your place again.', button: 'Join' },
  login: { words: 'Your rooms and private conversations come with you, to every device.', button: 'Log in' },
  register: { words: 'The name is yours from then on, and private messages are kept for you.', button: 'Create account' },
};

export class Door {
  constructor(page) {
    Object.assign(this, { page, ui: page.ui, session: page.session });
    const { ui } = this;
    page.on(ui['welcome-form'], 'submit', (event) => this.onSubmit(event));
    page.on(ui['welcome-close'], 'click', () => ui.welcome.close());
    page.on(ui.ways, 'change', () => this.draw());
    page.on(ui.welcome, 'cancel', (event) => !this.session.isConnected && event.preventDefault());
    this.channel = new BroadcastChannel('roomlog');
    page.on(this.channel, 'message', ({ data }) => this.onOtherTab(data));
  }

  get way() {
    return this.ui.ways.querySelector(':checked').value;
  }

  /** Asks who is there; `why` says what was wrong with the last answer. */
  open(way, why = null) {
    const { ui, session } = this;
    ui.ways.querySelector(`[value="${way}"]`).checked = true;
    ui['welcome-name'].value = session.user ?? suggestName();
    ui['welcome-password'].value = '';
    ui['welcome-room'].value = session.active ?? (this.page.hashRoom() || 'general');
    ui['welcome-room'].closest('label').hidden = session.rooms.size > 0;
    if (!ui.welcome.open) ui.welcome.showModal();
    this.draw();
    this.refuse(why);
    this.focus();
    if (why) this.channel.postMessage({ asks: session.user });
  }

  draw() {
    const { ui, way } = this;
    const { words, button } = WAYS[way];
    ui['welcome-words'].textContent = words;
    ui['welcome-go'].textContent = button;
    ui['welcome-password'].closest('label').hidden = way === 'guest';
    ui['welcome-password'].required = way !== 'guest';
    ui['welcome-password'].minLength = way === 'register' ? 8 : 0;
    ui['welcome-password'].autocomplete = way === 'register' ? 'new-password' : 'current-password';
    ui['welcome-name'].autocomplete = way === 'guest' ? 'nickname' : 'username';
    ui['welcome-close'].hidden = !this.session.isConnected;
    this.refuse(null);
  }

  refuse(why) {
    this.ui['welcome-why'].textContent = why ?? '';
    this.ui['welcome-name'].ariaInvalid = String(why !== null);
  }

  focus() {
    const { ui, way } = this;
    const field = way === 'guest' || !this.session.user ? ui['welcome-name'] : ui['welcome-password'];
    field.focus();
    field.select();
  }

  async onSubmit(event) {
    event.preventDefault();
    const { ui, session, way } = this;
    const name = ui['welcome-name'].value.trim();
    if (!name || ui['welcome-go'].disabled) return;
    let who = { user: name, token: null };
    try {
      ui['welcome-go'].disabled = true;
      if (way !== 'guest') who = await this.prove(way, name, ui['welcome-password'].value);
    } catch (error) {
      this.refuse(error.message);
      return;
    } finally {
      ui['welcome-go'].disabled = false;
    }
    const room = ui['welcome-room'].value.trim().replace(/^#/, '') || 'general';
    ui['welcome-password'].value = '';
    ui.welcome.close();
    this.page.act((_, now) => {
      if (!session.rooms.size) session.join(room, now);
      if (name !== session.user || who.token || !session.isConnected) session.start(who.user, now, who.token);
    });
    ui.text.focus();
  }

  /** An account's name and token, for a password. */
  prove(way, name, password) {
    const { held, resume } = this.session;
    return way === 'login' ? api.login(name, password) : api.register(name, password, name === held ? resume : null);
  }

  /** A name that is taken may be taken by oneself. */
  onOtherTab({ asks, has }) {
    const { session, ui } = this;
    if (asks && session.isConnected && asks === session.held) this.channel.postMessage({ has: asks });
    if (has && ui.welcome.open && has === ui['welcome-name'].value) {
      this.refuse('You have this name in another tab. Take another one here, or log in: an account can be in any number of tabs.');
    }
  }
}
