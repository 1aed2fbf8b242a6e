/**
 * Where one writes.
 *
 * Owns: the text, a draft per room, completion, the line below. Must never know: how a message is sent.
 */

import { contentBytes } from './session.js';

const NOTICE_MS = 6_000;

export class Composer {
  constructor(page, drafts) {
    Object.assign(this, { page, ui: page.ui, session: page.session });
    const { ui } = this;
    this.drafts = new Map(Object.entries(drafts ?? {}));
    this.room = null; // whose draft is in the box
    page.on(ui.composer, 'submit', (event) => this.onSend(event));
    page.on(ui.text, 'keydown', (event) => this.onTextKey(event));
    page.on(ui.text, 'input', () => this.onText());
  }

  onSend(event) {
    event?.preventDefault();
    const { ui, session } = this;
    const content = ui.text.value.trimEnd();
    const refusal = session.refusal(content);
    if (!session.room || refusal === 'empty') return;
    if (refusal) {
      this.notice(refusal);
      return;
    }
    this.setText('');
    this.page.timeline.follow();
    this.page.act((_, now) => session.send(session.active, content, now));
    ui.text.focus();
  }

  onTextKey(event) {
    // While an input method composes, Enter chooses a candidate (keyCode 229 in browsers that end composition first).
    const isComposing = event.isComposing || event.keyCode === 229;
    if (event.key === 'Enter' && !event.shiftKey && !isComposing) this.onSend(event);
    if (event.key === 'Tab' && !event.shiftKey && this.completeName()) event.preventDefault();
  }

  /** Completes the word before the caret to a member's name; false when there is nothing to complete. */
  completeName() {
    const { text } = this.ui;
    const head = text.value.slice(0, text.selectionStart);
    const word = /@?([^\s@]+)$/u.exec(head)?.[1]?.toLowerCase();
    const names = [...(this.session.room?.members.keys() ?? [])];
    const name = word && names.find((other) => other !== this.session.user && other.toLowerCase().startsWith(word));
    if (!name) return false;
    const isFirst = head.length === word.length;
    text.setRangeText(`${name}${isFirst ? ': ' : ' '}`, text.selectionStart - word.length, text.selectionStart, 'end');
    this.onText();
    return true;
  }

  onText() {
    const { ui, session } = this;
    this.drafts.set(session.active, ui.text.value);
    this.fitText();
    this.page.act((_, now) => (ui.text.value ? session.typing(session.active, now) : session.stopTyping()));
  }

  setText(value) {
    this.ui.text.value = value;
    if (value) this.drafts.set(this.session.active, value);
    else this.drafts.delete(this.session.active);
    this.fitText();
  }

  fitText() {
    const { text } = this.ui;
    text.style.height = 'auto';
    text.style.height = `${text.scrollHeight}px`;
    this.page.invalidate();
  }

  notice(text) {
    this.ui.notice.textContent = text;
    clearTimeout(this.noticeTimer);
    this.noticeTimer = setTimeout(() => this.ui.notice.replaceChildren(), NOTICE_MS);
  }

  draw() {
    const { ui, session } = this;
    const { room } = session;
    if (this.room !== session.active) {
      this.room = session.active;
      this.setText(this.drafts.get(this.room) ?? '');
    }
    const users = [...(room?.typing.keys() ?? [])];
    const who = users.length > 2 ? 'Several people' : users.join(' and ');
    const typing = users.length ? `${who} ${users.length === 1 ? 'is' : 'are'} typing…` : '';
    if (ui.typing.textContent !== typing) ui.typing.textContent = typing;
    const wasDisabled = ui.text.disabled;
    ui.text.disabled = !room;
    // Who has just come in by the door, which could not focus it yet, is here to write.
    if (wasDisabled && room && !ui.welcome.open) ui.text.focus();
    ui.text.placeholder = room ? `Message #${room.name}` : 'Join a room to write';
    const left = session.limits.contentBytes - contentBytes(ui.text.value);
    ui.left.textContent = left < 200 ? String(left) : '';
    ui.left.classList.toggle('over', left < 0);
    ui.send.disabled = !room || !ui.text.value.trim() || left < 0;
  }

}
