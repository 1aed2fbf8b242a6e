/**
 * Notifications of what one would not want to miss while looking elsewhere.
 *
 * Owns: the toggle, the browser's permission, which news are worth a notification. Must never know: where news come from.
 */

import { store } from './store.js';
import { mentions } from './text.js';

const SETTING = 'roomlog notify';
const BODY_LENGTH = 200;

export class Notifier {
  constructor(page) {
    Object.assign(this, { page, ui: page.ui, session: page.session });
    this.isWanted = store.read(localStorage, SETTING).isWanted === true;
    this.shown = new Map(); // room name → its notification
    this.ui.notify.hidden = !(window.isSecureContext && 'Notification' in window);
    page.on(this.ui.notify, 'click', () => this.toggle());
    page.on(this.ui.notify, 'blur', () => this.explain(''));
  }

  get isOn() {
    return this.isWanted && !this.ui.notify.hidden && Notification.permission === 'granted';
  }

  /** The one place that asks for the permission: a person wants notifications. */
  async toggle() {
    this.explain('');
    const wasOn = this.isOn;
    const permission = wasOn ? 'granted' : await Notification.requestPermission();
    if (permission === 'denied') this.explain('Your browser blocks notifications here. Its settings for this site can allow them.');
    this.isWanted = !wasOn && permission === 'granted';
    store.write(localStorage, { isWanted: this.isWanted }, SETTING);
    this.draw();
  }

  explain(text) {
    this.ui['notify-why'].textContent = text;
  }

  onNews({ room, message }) {
    const isSeen = document.visibilityState === 'visible' && room.name === this.session.active;
    if (isSeen || !this.isOn || !(room.peer !== null || mentions(message.content, this.session.user))) return;
    const title = room.peer ?? `${message.user} in #${room.name}`;
    try {
      const notification = new Notification(title, { body: message.content.slice(0, BODY_LENGTH), tag: `roomlog ${room.name}` });
      notification.onclick = () => this.onClick(room.name);
      this.shown.set(room.name, notification);
    } catch {
      // Some phones let only service workers notify. Then the toggle is not theirs.
      this.ui.notify.hidden = true;
    }
  }

  onClick(name) {
    window.focus();
    if (this.session.rooms.has(name)) this.page.enter(name);
    this.take(name);
  }

  take(name) {
    this.shown.get(name)?.close();
    this.shown.delete(name);
  }

  /** What is looked at needs no notification any more. */
  draw() {
    if (document.visibilityState === 'visible') this.take(this.session.active);
    this.ui.notify.ariaPressed = String(this.isOn);
  }
}
