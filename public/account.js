/**
 * Oneself: the dialog behind one's name.
 *
 * Owns: its buttons and the form for a new password. Must never know: how the server decides.
 */

import { api } from './api.js';

export class Account {
  constructor(page) {
    Object.assign(this, { page, ui: page.ui, session: page.session });
    const { ui } = this;
    page.on(ui.me, 'click', () => this.open());
    page.on(ui['you-close'], 'click', () => ui.you.close());
    page.on(ui['you-away'], 'click', () => this.toggleAway());
    for (const way of ['guest', 'login', 'register']) page.on(ui[`you-${way}`], 'click', () => this.leaveFor(way));
    page.on(ui['you-logout'], 'click', () => this.logout());
    page.on(ui['you-password'], 'submit', (event) => this.onPassword(event));
  }

  open() {
    if (!this.session.isConnected) return this.page.door.open(this.session.token ? 'login' : 'guest');
    this.draw();
    this.say('');
    return this.ui.you.showModal();
  }

  draw() {
    const { ui, session } = this;
    const isAccount = session.role !== null;
    ui['you-title'].textContent = session.user;
    const guest = 'A guest. The name is free again once you have gone.';
    ui['you-words'].textContent = isAccount ? (session.role === 'admin' ? 'An administrator.' : 'Logged in.') : guest;
    ui['you-away'].textContent = session.isAway ? 'Show me as here' : 'Show me as away';
    for (const id of ['you-guest', 'you-login', 'you-register']) ui[id].hidden = isAccount;
    for (const id of ['you-logout', 'you-password']) ui[id].hidden = !isAccount;
    ui['you-user'].value = session.user;
  }

  say(text) {
    this.ui['you-why'].textContent = text;
  }

  toggleAway() {
    this.page.act((session) => session.setAway(!session.isAway, true));
    this.draw();
  }

  leaveFor(way) {
    this.ui.you.close();
    this.page.door.open(way);
  }

  logout() {
    this.ui.you.close();
    this.page.act((session) => session.logout());
  }

  async onPassword(event) {
    event.preventDefault();
    const { ui, session } = this;
    try {
      await api.changePassword(session.token, ui['you-old'].value, ui['you-new'].value);
      this.say('Changed. Every other login of yours is over.');
      ui['you-password'].reset();
      ui['you-more'].open = false;
    } catch (error) {
      this.say(error.message);
    }
  }
}
