/**
 * Who one is: the dialog that asks.
 *
 * Owns: its fields and words. Must never know: how the server decides.
 */

const SUGGESTIONS = {
  first: ['amber', 'brisk', 'calm', 'clever', 'cosy', 'gentle', 'keen', 'lucky', 'mellow', 'nimble', 'quiet', 'sunny'],
  second: ['badger', 'finch', 'fox', 'heron', 'lynx', 'marten', 'otter', 'owl', 'puffin', 'robin', 'seal', 'wren'],
};

const pick = (list) => list[Math.floor(Math.random() * list.length)];
const suggestName = () => `${pick(SUGGESTIONS.first)}-${pick(SUGGESTIONS.second)}-${10 + Math.floor(Math.random() * 90)}`;

export class Door {
  constructor(page) {
    Object.assign(this, { page, ui: page.ui, session: page.session });
    const { ui } = this;
    page.on(ui['welcome-form'], 'submit', (event) => this.onWelcome(event));
    page.on(ui.welcome, 'cancel', (event) => !this.session.isConnected && event.preventDefault());
    page.on(ui.me, 'click', () => this.open(null));
  }

  open(why) {
    const { ui, session } = this;
    ui['welcome-name'].value = session.user ?? suggestName();
    ui['welcome-room'].value = session.active ?? (this.page.hashRoom() || 'general');
    ui['welcome-room'].closest('label').hidden = session.rooms.size > 0;
    ui['welcome-why'].textContent = why ?? '';
    ui['welcome-name'].ariaInvalid = String(why !== null);
    if (!ui.welcome.open) ui.welcome.showModal();
    ui['welcome-name'].focus();
    ui['welcome-name'].select();
  }

  onWelcome(event) {
    event.preventDefault();
    const { ui } = this;
    const name = ui['welcome-name'].value.trim();
    if (!name) return;
    const room = ui['welcome-room'].value.trim().replace(/^#/, '') || 'general';
    ui.welcome.close();
    this.page.act((session, now) => {
      if (!session.rooms.size) session.join(room, now);
      if (name !== session.user || !session.isConnected) session.start(name, now);
    });
    ui.text.focus();
  }

}
