// Every view of the page, for the tests that look at all of them: a new dialog or drawer gets a line here.

import { lines } from './harness.js';

const LONG = 'pneumonoultramicroscopicsilicovolcanoconiosis'.repeat(8);

/** A room with everything in it that can be wide, long or many. */
export const BUSY = 'a-busy-room-with-a-name-as-long-as-a-name-can-be-'.padEnd(64, 'x');
export const busyLog = [
  ...lines(30, { user: 'mira' }),
  ...[
    LONG,
    `https://example.org/${'path/'.repeat(80)}`,
    `\`\`\`\n${'let code = "as wide as it wants to be"; '.repeat(12)}\n\`\`\``,
    `**bold ${LONG}** *italic ${LONG}* \`code ${LONG}\``,
    'a link in a sentence: https://example.org/short, and `code` too',
    '\u0627\u0644\u0633\u0644\u0627\u0645 '.repeat(40),
  ].map((content) => ({ user: 'W'.repeat(32), content, timestamp: Date.now() - 3_600_000 })),
];

/** Brings people, unread messages and somebody who types into the busy room and the lists beside it. */
export async function populate(robots) {
  const names = ['W'.repeat(32), 'mira', ...Array.from({ length: 20 }, (_, number) => `member ${number}`)];
  await Promise.all(names.map((name) => robots.join(name, BUSY)));
  await robots.command('mira', { type: 'join', room: 'other' }, { type: 'join', room: 'third' });
  await robots.command('member 3', { type: 'status', status: 'away' });
}

/** In the busy room, with two other rooms, of which one has something new. */
export async function settle(person, robots, name) {
  await person.enter(name, 'other');
  await person.goTo('third');
  await person.goTo(BUSY);
  await person.page.locator('#log pre').waitFor();
  await robots.say('mira', 'other', 'news');
  await person.page.locator('#room-list .badge').first().waitFor({ state: 'attached' });
  return person;
}

const drawer = (button, pane) => async ({ page }) => {
  const opener = page.getByRole('button', { name: button, exact: true });
  // On a wide screen the pane stands open.
  if (await opener.isVisible()) await opener.click();
  await page.waitForFunction((id) => {
    const box = document.querySelector(id).getBoundingClientRect();
    return box.left >= 0 && box.right <= innerWidth;
  }, pane);
};

const escape = async ({ page }) => {
  await page.keyboard.press('Escape');
  await page.waitForFunction(() => !document.querySelector('.pane.open, dialog[open]'));
  await page.waitForFunction(() => document.getAnimations().every((animation) => animation.animationName || animation.playState === 'finished'));
};

const escapeOnce = ({ page }) => page.keyboard.press('Escape');

/** `open` comes from the chat and `close` goes back to it. */
export const VIEWS = [
  { name: 'chat', open: async () => {}, close: async () => {} },
  {
    name: 'scrolled up',
    open: async (person) => {
      await person.scrollTo(500);
      await person.page.locator('#jump').waitFor();
    },
    close: ({ page }) => page.locator('#jump').click(),
  },
  { name: 'rooms', open: drawer('Rooms', '#rooms'), close: escape },
  { name: 'members', open: drawer('Members', '#people'), close: escape },
  {
    name: 'name dialog',
    open: async (person) => {
      await drawer('Rooms', '#rooms')(person);
      await person.page.locator('#me').click();
      await person.page.getByRole('button', { name: 'Create an account' }).click();
      await person.page.locator('#welcome').waitFor();
    },
    close: async (person) => {
      await escapeOnce(person);
      await escape(person);
    },
  },
  {
    name: 'switcher',
    open: async ({ page }) => {
      await page.keyboard.press('Control+k');
      await page.locator('dialog[open] [role="option"]').first().waitFor();
    },
    close: escape,
  },
  {
    name: 'account dialog',
    open: async (person) => {
      await drawer('Rooms', '#rooms')(person);
      await person.page.locator('#me').click();
      await person.page.locator('#you').waitFor();
    },
    close: async (person) => {
      await escapeOnce(person);
      await escape(person);
    },
  },
  {
    name: 'what can be done with a message',
    open: async (person) => {
      await person.say('my own');
      await person.page.locator('.message.own:not(.pending)').last().waitFor();
      await person.box.press('Shift+Tab');
      await person.page.locator('#log').press('ArrowUp');
      await person.page.getByRole('toolbar').waitFor();
    },
    close: ({ page }) => page.keyboard.press('Escape'),
  },
  {
    name: 'question before a deletion',
    open: async (person) => {
      await person.box.press('Shift+Tab');
      await person.page.locator('#log').press('ArrowUp');
      await person.page.getByRole('toolbar').getByRole('button', { name: 'Delete' }).click();
      await person.page.locator('#sure').waitFor();
    },
    // The row gets the focus back with an event that comes later.
    close: async (person) => {
      await escape(person);
      await person.page.waitForFunction(() => document.activeElement?.closest('#log'));
    },
  },
  {
    name: 'editing',
    open: async (person) => {
      await person.box.press('ArrowUp');
      await person.page.locator('#editing').waitFor();
    },
    close: ({ page }) => page.keyboard.press('Escape'),
  },
  {
    name: 'private conversation',
    open: async (person) => {
      await drawer('Members', '#people')(person);
      await person.page.locator('#people-list').getByRole('button', { name: 'mira' }).click();
      await person.say('between us');
      await person.sees('between us');
    },
    close: async (person) => {
      await person.goTo(BUSY);
    },
  },
  {
    name: 'not sent',
    open: async (person) => {
      await person.page.evaluate(() => window.refuse = true);
      await person.say('refused');
      await person.page.getByRole('button', { name: 'Discard' }).waitFor();
    },
    close: ({ page }) => page.getByRole('button', { name: 'Discard' }).click(),
  },
  {
    name: 'connection lost',
    open: async ({ context, page }) => {
      await context.setOffline(true);
      await page.evaluate(() => window.cut());
      await page.locator('#banner').waitFor();
    },
    close: async (person) => {
      await person.context.setOffline(false);
      await person.connected();
    },
  },
];

/** What two of the views need: a server that refuses one message, and a connection that can be cut. */
export async function prepare(page) {
  await page.addInitScript(() => {
    const Real = window.WebSocket;
    window.WebSocket = class extends Real {
      constructor(...rest) {
        super(...rest);
        // As if the connection had broken: at once, without the wait for an answer to a close.
        window.cut = () => {
          this.onclose(new CloseEvent('close', { code: 1006 }));
          this.onmessage = null;
        };
      }

      send(text) {
        const frame = JSON.parse(text);
        const isRefused = window.refuse && frame.type === 'message';
        if (isRefused) window.refuse = false;
        super.send(isRefused ? JSON.stringify({ ...frame, data: { ...frame.data, content: ' ' } }) : text);
      }
    };
  });
}
