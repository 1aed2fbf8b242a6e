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
    this.round = null; // {names, start, suffix, index, value, end}: the names that Tab goes through, and what it left
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
    // Escape ends a round of names, so that Tab moves on.
    if (event.key === 'Escape') this.round = null;
    if (event.key === 'Tab' && !isComposing && this.complete(event.shiftKey ? -1 : 1)) event.preventDefault();
  }

  /** Completes the word before the caret to a member's name, at once after that to the next; false when there is none. */
  complete(step) {
    const { text } = this.ui;
    const isNext = this.round?.value === text.value && this.round.end === text.selectionEnd;
    if (!isNext) this.round = step > 0 ? this.roundOf(text.value.slice(0, text.selectionStart)) : null;
    const { names = [], start, suffix, index } = this.round ?? {};
    if (!names.length || (isNext && names.length === 1)) return false;
    const at = (index + step + names.length) % names.length;
    text.setRangeText(names[at] + suffix, start, text.selectionEnd, 'end');
    Object.assign(this.round, { index: at, value: text.value, end: text.selectionEnd });
    this.onText();
    return true;
  }

  /** The names that complete the end of `head`, and where they go. A line that begins with one addresses that person. */
  roundOf(head) {
    const { room, user } = this.session;
    const [whole, sign, word] = /(@?)([^\s@]*)$/u.exec(head);
    const isMatch = (name) => whole && name !== user && name.toLowerCase().startsWith(word.toLowerCase());
    const names = [...this.session.membersOf(room).keys()].filter(isMatch).sort((a, b) => a.localeCompare(b));
    const isAddress = !sign && /(^|\n)$/.test(head.slice(0, -whole.length));
    return { names, start: head.length - word.length, suffix: isAddress ? ': ' : ' ', index: -1 };
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
    const wasDisabled = ui.text.disabled;
    ui.text.disabled = !room;
    // Who has just come in by the door, which could not focus it yet, is here to write.
    if (wasDisabled && room && !ui.welcome.open) ui.text.focus();
    ui.editing.hidden = this.editing === null;
    ui.text.placeholder = !room ? 'Join a room to write' : room.peer === null ? `Message #${room.name}` : `Message ${room.peer}, privately`;
    const left = session.limits.contentBytes - contentBytes(ui.text.value);
    ui.left.textContent = left < 200 ? String(left) : '';
    ui.left.classList.toggle('over', left < 0);
    ui.send.disabled = !room || !ui.text.value.trim() || left < 0;
  }

}
