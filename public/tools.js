/**
 * What can be done with a message: one toolbar, which goes to the row that is pointed at or has the focus.
 *
 * Owns: the toolbar, moving the focus from row to row, the question before a deletion. Must never know: how rows are made.
 */

import { make } from './dom.js';

const icon = (path) => {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  const shape = document.createElementNS(svg.namespaceURI, 'path');
  shape.setAttribute('d', path);
  svg.append(shape);
  return svg;
};

export class Tools {
  constructor(page) {
    Object.assign(this, { page, ui: page.ui, session: page.session });
    const { ui } = this;
    const button = (label, path, onclick) => make('button', 'icon', icon(path), { type: 'button', title: label, ariaLabel: label, onclick });
    this.edit = button('Edit', 'M4 20l1-4L16 5l3 3L8 19z', () => this.onEdit());
    this.delete = button('Delete', 'M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13', () => this.onDelete());
    this.bar = make('div', 'tools', [this.edit, this.delete], { role: 'toolbar', ariaLabel: 'This message' });
    this.sequence = null; // of the message that it stands in
    page.on(ui.rows, 'pointerover', ({ target }) => this.attach(target));
    page.on(ui.rows, 'focusin', ({ target }) => this.attach(target));
    page.on(ui.rows, 'click', ({ target }) => this.onClick(target));
    page.on(ui.log, 'keydown', (event) => this.onKey(event));
    page.on(ui['sure-no'], 'click', () => ui.sure.close());
    page.on(ui['sure-yes'], 'click', () => this.onSure());
    page.on(ui.sure, 'close', () => this.focusRow());
  }

  message(sequence) {
    return this.session.room?.log.find((message) => message.sequence === sequence);
  }

  attach(target) {
    const row = target.closest('[data-sequence]');
    // Where the focus is, it stays, whatever the pointer passes.
    if (!row || row.contains(this.bar) || this.bar.contains(document.activeElement)) return;
    const { room } = this.session;
    this.sequence = Number(row.dataset.sequence);
    const message = this.message(this.sequence);
    this.edit.hidden = !message || !this.session.may('edit', room, message);
    this.delete.hidden = !message || !this.session.may('delete', room, message);
    if (this.edit.hidden && this.delete.hidden) this.bar.remove();
    else row.append(this.bar);
  }

  /** On a touch screen, which has nothing to hover with, a tap on a row shows what can be done. */
  onClick(target) {
    const isText = target.closest('a, button') || !getSelection().isCollapsed;
    if (!isText) target.closest('[data-sequence]')?.focus({ preventScroll: true });
  }

  /** The arrows go from message to message. */
  onKey(event) {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (event.key === 'Escape') this.ui.text.focus();
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    const rows = [...this.ui.rows.querySelectorAll('[data-sequence]')];
    const at = rows.indexOf(document.activeElement.closest('[data-sequence]'));
    const next = at < 0 ? rows.at(-1) : rows[at + step];
    if (!next) return;
    event.preventDefault();
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: 'nearest' });
  }

  focusRow() {
    this.ui.rows.querySelector(`[data-sequence="${this.sequence}"]`)?.focus({ preventScroll: true });
  }

  onEdit() {
    const message = this.message(this.sequence);
    if (message) this.page.composer.startEdit(message);
  }

  onDelete() {
    const message = this.message(this.sequence);
    if (!message) return;
    this.ui['sure-text'].textContent = message.content;
    this.ui.sure.showModal();
  }

  onSure() {
    this.page.act((session, now) => session.delete(session.active, this.sequence, now));
    this.ui.sure.close();
  }
}
