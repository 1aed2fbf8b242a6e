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
    this.editing = null; // the number of the message that is being edited; its draft stays where it is
    page.on(ui.composer, 'submit', (event) => this.onSend(event));
    page.on(ui.text, 'keydown', (event) => this.onTextKey(event));
    page.on(ui.text, 'input', () => this.onText());
    page.on(ui['edit-cancel'], 'click', () => this.endEdit());
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
    if (this.editing !== null) {
      const target = this.editing;
      this.endEdit();
      this.page.act((_, now) => session.edit(session.active, target, content, now));
      return;
    }
    this.setText('');
    this.page.timeline.follow();
    this.page.act((_, now) => session.send(session.active, content, now));
    ui.text.focus();
  }

  startEdit({ sequence, content }) {
    this.editing = sequence;
    this.setText(content);
    this.ui.text.focus();
  }

  endEdit() {
    this.editing = null;
    this.setText(this.drafts.get(this.room) ?? '');
    this.ui.text.focus();
  }

  /** The last message of one's own that can be edited. */
  editLast() {
    const { session } = this;
    const message = session.room?.log.findLast((other) => !other.kind && session.may('edit', session.room, other));
    if (message) this.startEdit(message);
    return Boolean(message);
  }

  onTextKey(event) {
    // While an input method composes, Enter chooses a candidate (keyCode 229 in browsers that end composition first).
    const isComposing = event.isComposing || event.keyCode === 229;
    if (event.key === 'Enter' && !event.shiftKey && !isComposing) this.onSend(event);
    if (event.key === 'Escape' && this.editing !== null) this.endEdit();
    if (event.key === 'ArrowUp' && !this.ui.text.value && this.editLast()) event.preventDefault();
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
    this.keepDraft();
    this.fitText();
    this.page.act((_, now) => (ui.text.value ? session.typing(session.active, now) : session.stopTyping()));
  }

  setText(value) {
    this.ui.text.value = value;
    this.keepDraft();
    this.fitText();
  }

  keepDraft() {
    if (this.editing !== null) return;
    const { value } = this.ui.text;
    if (value) this.drafts.set(this.room, value);
    else this.drafts.delete(this.room);
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
      this.editing = null;
      this.setText(this.drafts.get(this.room) ?? '');
    }
    const users = [...(room?.typing.keys() ?? [])];
    const who = users.length > 2 ? 'Several people' : users.join(' and ');
    const typing = users.length ? `${who} ${users.length === 1 ? 'is' : 'are'} typing…` : '';
    if (ui.typing.textContent !== typing) ui.typing.textContent = typing;
    ui.text.disabled = !room;
    ui.editing.hidden = this.editing === null;
    ui.text.placeholder = !room ? 'Join a room to write' : room.peer === null ? `Message #${room.name}` : `Message ${room.peer}, privately`;
    const left = session.limits.contentBytes - contentBytes(ui.text.value);
    ui.left.textContent = left < 200 ? String(left) : '';
    ui.left.classList.toggle('over', left < 0);
    ui.send.disabled = !room || !ui.text.value.trim() || left < 0;
  }

}
