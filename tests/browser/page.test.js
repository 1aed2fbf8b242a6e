// The page as people meet it: a real Chromium against the real server.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openBrowser, OUT, Person, Server } from './harness.js';

const range = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

describe('page', { timeout: 120_000 }, () => {
  let browser;
  let server;
  const people = [];

  before(async () => {
    [browser, server] = await Promise.all([openBrowser(), Server.open()]);
  });

  after(async () => {
    await browser?.close();
    await server?.close();
  });

  async function visit(options) {
    const person = await Person.open(browser, server, options);
    people.push(person);
    return person;
  }

  /** Ends the test's visitors; none of them may have seen a script error or a policy violation. */
  async function leaveAll() {
    const complaints = people.flatMap((person) => person.complaints);
    await Promise.all(people.splice(0).map((person) => person.close()));
    assert.deepEqual(complaints, []);
  }

  const test = (name, body) =>
    it(name, async () => {
      try {
        await body();
      } finally {
        if (!server.isUp) await server.start();
        await leaveAll();
      }
    });

  test('two_browsers_chat', async () => {
    const ada = await (await visit()).enter('ada', 'two');
    const bob = await (await visit()).enter('bob', 'two');
    await ada.page.locator('#people-list').getByText('bob').waitFor();
    await ada.say('hello bob');
    await bob.sees('hello bob');
    await bob.say('hello ada');
    await ada.sees('hello ada');
    assert.deepEqual(await ada.log(), [[1, 'hello bob'], [2, 'hello ada']]);
    assert.deepEqual(await bob.log(), await ada.log());
    await ada.shows(0, '.pending');
    await bob.page.getByRole('button', { name: 'Leave two' }).click();
    await ada.page.locator('#people-list').getByText('bob').waitFor({ state: 'detached' });
  });

  test('one_enter_is_enough_for_a_first_visit', async () => {
    const guest = await visit();
    assert.match(await guest.page.getByLabel('Your name').inputValue(), /^\w+-\w+-\d+$/);
    await guest.page.keyboard.press('Enter');
    await guest.connected();
    assert.equal(new URL(guest.page.url()).hash, '#general');
  });

  test('reload_shows_history_under_the_same_name', async () => {
    const ada = await (await visit()).enter('ada-reload', 'reload');
    for (const number of range(1, 60)) await ada.say(`line ${number}`);
    await ada.sees('line 60');
    await ada.page.reload();
    await ada.sees('line 60');
    assert.deepEqual((await ada.log()).map(([sequence]) => sequence), range(11, 60));
    assert.equal(await ada.page.locator('#welcome').isVisible(), false);
    assert.equal(await ada.page.locator('#me-name').textContent(), 'ada-reload');
    // Scrolling up reads the rest, the row in view stays where it is, and there is nothing twice.
    await ada.page.locator('#log').evaluate((log) => (log.scrollTop = 0));
    await ada.page.locator('[data-sequence="1"]').waitFor({ state: 'attached' });
    assert.deepEqual((await ada.log()).map(([sequence]) => sequence), range(1, 60));
  });

  test('older_messages_do_not_move_the_row_in_view', async () => {
    const ada = await (await visit()).enter('ada-scroll', 'reload');
    await ada.sees('line 60');
    const topOf = (sequence) => ada.page.locator(`[data-sequence="${sequence}"]`).evaluate((row) => row.getBoundingClientRect().top);
    // The very first row: it loses its heading when the messages before it come in.
    const stood = await ada.page.locator('#log').evaluate((log) => {
      log.scrollTop = document.querySelector('[data-sequence="11"]').offsetTop;
      return document.querySelector('[data-sequence="11"]').getBoundingClientRect().top;
    });
    await ada.page.locator('[data-sequence="1"]').waitFor({ state: 'attached' });
    const stands = await topOf(11);
    assert.ok(Math.abs(stands - stood) <= 1, `moved from ${stood} to ${stands}`);
  });

  test('document_stays_bounded_and_every_message_can_be_reached', async () => {
    const ada = await (await visit()).enter('ada-long', 'long');
    await ada.say('first');
    await ada.sees('first');
    // Twenty quick writers, each within the burst that one connection is allowed.
    await ada.page.evaluate(async () => {
      const writer = (number) =>
        new Promise((resolve) => {
          const socket = new WebSocket(`ws://${location.host}/ws`, 'roomlog.v1');
          const send = (frame) => socket.send(JSON.stringify(frame));
          let acks = 0;
          socket.onopen = () => {
            send({ type: 'join', room: 'long', id: 'join' });
            for (let line = 0; line < 35; line += 1) send({ type: 'message', id: line, data: { room: 'long', content: `${number}.${line}` } });
          };
          socket.onmessage = ({ data }) => {
            const { type, id } = JSON.parse(data);
            if (type === 'ack' && id !== 'join' && (acks += 1) === 35) resolve(socket.close(1000));
          };
        });
      await Promise.all(Array.from({ length: 20 }, (_, number) => writer(number)));
    });
    await ada.page.locator('[data-sequence="701"]').waitFor({ state: 'attached' });
    const seen = new Set();
    let most = 0;
    const scroll = async (to, until) => {
      for (let turn = 0; turn < 60 && !seen.has(until); turn += 1) {
        const log = await ada.log();
        most = Math.max(most, log.length);
        for (const [sequence] of log) seen.add(sequence);
        await ada.page.locator('#log').evaluate((log, top) => (log.scrollTop = top), to);
        await ada.page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
      }
    };
    await scroll(0, 1);
    assert.deepEqual([...seen].sort((a, b) => a - b), range(1, 701));
    assert.ok(most <= 500, `${most} rows`);
    seen.clear();
    await scroll(1e9, 701);
    assert.ok(seen.has(701) && most <= 500, `${most} rows`);
  });

  test('text_is_inert', async () => {
    const payloads = [
      '<img src=x onerror="window.pwned=1">',
      '<script>window.pwned=1</script>',
      '<svg/onload=window.pwned=1>',
      '"><iframe srcdoc="<script>parent.pwned=1</script>">',
      'javascript:window.pwned=1',
      '[x](javascript:window.pwned=1)',
      '<a href="javascript:window.pwned=1">x</a>',
      '{{constructor.constructor("window.pwned=1")()}}',
      '&lt;b&gt; &amp; &#60;',
    ];
    const eve = await (await visit()).enter('<b>eve</b>', '<i>inert</i>');
    for (const payload of payloads) await eve.say(payload);
    await eve.sees(payloads.at(-1));
    assert.deepEqual((await eve.log()).map(([, text]) => text), payloads);
    assert.equal(await eve.page.evaluate(() => window.pwned), undefined);
    assert.equal(await eve.count('#log :is(img, script, iframe, a, svg, b, i)'), 0);
    await eve.say('see https://example.org/a?b=c.');
    const link = eve.page.locator('#log a');
    assert.equal(await link.getAttribute('href'), 'https://example.org/a?b=c');
    assert.equal(await link.getAttribute('rel'), 'noopener noreferrer');
  });

  test('server_restart_resumes_without_hole_or_duplicate', async () => {
    const ada = await (await visit()).enter('ada-resume', 'resume');
    const bob = await (await visit()).enter('bob-resume', 'resume');
    await ada.say('one');
    await bob.say('two');
    await ada.sees('two');
    await server.stop('SIGTERM');
    await ada.page.locator('#banner').waitFor();
    await bob.page.locator('#banner').waitFor();
    // Bob is kept away while a hundred messages pass.
    await bob.context.setOffline(true);
    await server.start();
    await ada.page.evaluate(() => document.querySelector('#retry').click());
    await ada.connected();
    for (const number of range(3, 102)) await ada.say(`line ${number}`);
    await ada.sees('line 102');
    await bob.context.setOffline(false);
    await bob.sees('line 102');
    assert.deepEqual((await bob.log()).map(([sequence]) => sequence), range(1, 102));
    assert.deepEqual(await bob.log(), await ada.log());
  });

  test('offline_send_is_pending_then_exactly_one_row', async () => {
    const ada = await (await visit()).enter('ada-outbox', 'outbox');
    const bob = await (await visit()).enter('bob-outbox', 'outbox');
    await ada.say('before');
    await bob.sees('before');
    await server.stop('SIGKILL');
    await ada.page.locator('#banner').waitFor();
    await ada.say('first while away');
    await ada.say('second while away');
    await ada.shows(2, '.pending');
    await server.start();
    await ada.sees('second while away');
    await bob.sees('second while away');
    const expected = [[1, 'before'], [2, 'first while away'], [3, 'second while away']];
    assert.deepEqual(await ada.log(), expected);
    assert.deepEqual(await bob.log(), expected);
    await ada.shows(0, '.pending');
  });

  test('unsent_message_survives_a_reload', async () => {
    const ada = await visit();
    // The page is served while its connection does not come up.
    let isBlocked = true;
    await ada.page.routeWebSocket(/./, (socket) => (isBlocked ? socket.close({ code: 1013 }) : socket.connectToServer()));
    await ada.page.getByLabel('Your name').fill('ada-kept');
    await ada.page.keyboard.press('Enter');
    await ada.say('kept');
    await ada.shows(1, '.pending');
    isBlocked = false;
    await ada.page.reload();
    await ada.sees('kept');
    await ada.shows(0, '.pending');
    assert.equal((await ada.log()).filter(([, text]) => text === 'kept').length, 1);
  });

  test('name_taken_asks_again', async () => {
    await (await visit()).enter('ada-name', 'name');
    const other = await visit();
    await other.page.getByLabel('Your name').fill('Ada-Name');
    await other.page.keyboard.press('Enter');
    await other.page.getByText('This name is taken').waitFor();
    await other.page.getByLabel('Your name').fill('ada-the-second');
    await other.page.keyboard.press('Enter');
    await other.connected();
    assert.equal(await other.page.locator('#me-name').textContent(), 'ada-the-second');
  });

  test('unread_is_counted_elsewhere_and_jumped_to', async () => {
    const ada = await (await visit()).enter('ada-unread', 'unread');
    const bob = await (await visit()).enter('bob-unread', 'unread');
    for (const number of range(1, 40)) await bob.say(`line ${number}`);
    await ada.sees('line 40');
    await ada.page.locator('#log').evaluate((log) => (log.scrollTop = 0));
    await ada.page.locator('#jump').waitFor();
    await bob.say('while reading above');
    await ada.page.getByRole('button', { name: 'Jump to latest (1)' }).click();
    await ada.page.locator('#jump').waitFor({ state: 'hidden' });
    await ada.page.getByLabel('Find or join a room').fill('elsewhere');
    await ada.page.keyboard.press('Enter');
    await bob.say('missed you');
    await ada.page.locator('#room-list .badge').getByText('1').waitFor();
    await ada.page.waitForFunction(() => document.title.startsWith('(1) '));
    await ada.page.locator('#room-list').getByText('unread', { exact: true }).click();
    await ada.page.locator('.marker').waitFor();
    await ada.page.waitForFunction(() => !document.title.startsWith('('));
    assert.equal(await ada.count('.marker'), 1);
  });

  test('enter_sends_and_shift_enter_or_composition_does_not', async () => {
    const ada = await (await visit()).enter('ada-keys', 'keys');
    const box = ada.page.getByRole('textbox', { name: 'Message' });
    await box.pressSequentially('one');
    await box.press('Shift+Enter');
    await box.pressSequentially('two');
    await box.evaluate((element) =>
      element.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', isComposing: true, bubbles: true, cancelable: true })),
    );
    assert.equal(await box.inputValue(), 'one\ntwo');
    await box.press('Enter');
    await ada.sees('one\ntwo');
    assert.equal(await box.inputValue(), '');
  });

  test('typing_is_shown_and_ends', async () => {
    const ada = await (await visit()).enter('ada-typing', 'typing');
    const bob = await (await visit()).enter('bob-typing', 'typing');
    await ada.page.getByRole('textbox', { name: 'Message' }).pressSequentially('he');
    await bob.page.getByText('ada-typing is typing…').waitFor();
    await ada.page.getByRole('textbox', { name: 'Message' }).fill('');
    await bob.page.getByText('ada-typing is typing…').waitFor({ state: 'detached' });
  });

  test('phone_has_drawers_and_no_horizontal_scroll', async () => {
    const phone = { viewport: { width: 375, height: 700 }, hasTouch: true, isMobile: true };
    const ada = await (await visit(phone)).enter('ada-phone', 'a-room-with-quite-a-long-name-that-has-to-be-cut');
    await ada.say('W'.repeat(300));
    await ada.say(`https://example.org/${'path/'.repeat(60)}`);
    const overflow = () => ada.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    const logOverflow = () => ada.page.locator('#log').evaluate((log) => log.scrollWidth - log.clientWidth);
    assert.equal(await overflow(), 0);
    assert.equal(await logOverflow(), 0);
    const small = () =>
      ada.page.evaluate(() =>
        [...document.querySelectorAll('button, input, textarea')]
          .filter((element) => element.checkVisibility({ visibilityProperty: true }) && !element.closest('[inert]'))
          .map((element) => [element.id || element.className, element.closest('.box, .find, label') ?? element])
          .filter(([, element]) => element.getBoundingClientRect().height < 44 || element.getBoundingClientRect().width < 44)
          .map(([name]) => name),
      );
    assert.deepEqual(await small(), []);
    await ada.page.getByRole('button', { name: 'Rooms' }).click();
    await ada.page.locator('#room-input').waitFor();
    assert.deepEqual(await small(), []);
    await ada.page.keyboard.press('Escape');
    await ada.page.getByRole('button', { name: 'Members' }).click();
    await ada.page.locator('#people-list').getByText('ada-phone').waitFor();
    assert.equal(await overflow(), 0);
  });

  describe('screenshots', () => {
    const talk = [
      ['mira', 'Morning! I moved the nightly backup to 03:30, it was colliding with the index job.'],
      ['mira', 'Graphs look calm since.'],
      ['tom', 'Nice. Restore test from yesterday took **41 s** for the whole log, start to finish.'],
      ['june', 'How long did the old one take?'],
      ['tom', 'About 9 minutes, and it lost the last few lines every time.'],
      ['june', 'So the log *is* the backup now. Love it.'],
      ['mira', 'The check is one line if you want it in your notes:'],
      ['mira', '```\nroomlog log verify data/rooms/operations\n```'],
      ['june', 'Thanks! Writing it up on https://wiki.example.org/restore'],
    ];
    const sizes = { phone: { width: 375, height: 740 }, desktop: { width: 1200, height: 760 } };

    async function goTo({ page }, room) {
      await page.keyboard.press('Control+k');
      await page.keyboard.type(room);
      await page.keyboard.press('Enter');
      await page.waitForFunction((hash) => location.hash === hash, `#${room}`);
    }

    before(() => mkdirSync(OUT, { recursive: true }));

    test('are_taken_on_phone_and_desktop_in_light_and_dark', async () => {
      const speakers = {};
      for (const name of ['mira', 'tom', 'june']) speakers[name] = await (await visit()).enter(name, 'operations');
      for (const [name, text] of talk) {
        await speakers[name].say(text);
        await speakers[name].page.locator('.pending').waitFor({ state: 'detached' });
      }
      await goTo(speakers.june, 'design');
      const viewers = ['ada', 'grace', 'linus', 'noor'];
      for (const [size, viewport] of Object.entries(sizes)) {
        for (const colorScheme of ['light', 'dark']) {
          const shot = (person, view) => person.page.screenshot({ path: join(OUT, `${view}-${size}-${colorScheme}.png`) });
          const viewer = await visit({ viewport, colorScheme, deviceScaleFactor: 2, reducedMotion: 'reduce' });
          await viewer.page.getByLabel('Your name').fill('ada');
          await shot(viewer, 'welcome');
          await viewer.enter(viewers.pop(), 'operations');
          await viewer.page.locator('#log a').waitFor();
          for (const room of ['general', 'design', 'operations']) await goTo(viewer, room);
          await viewer.page.locator('#log a').waitFor();
          await speakers.june.say('The new icons are up for a look.');
          await viewer.page.locator('#room-list .badge').waitFor({ state: 'attached' });
          await speakers.tom.page.getByRole('textbox', { name: 'Message' }).pressSequentially('x');
          await viewer.page.getByText('tom is typing…').waitFor();
          await shot(viewer, 'chat');
          await speakers.tom.page.getByRole('textbox', { name: 'Message' }).fill('');
          if (size === 'phone') {
            await viewer.page.getByRole('button', { name: 'Rooms' }).click();
            await shot(viewer, 'rooms');
          }
          people.splice(people.indexOf(viewer), 1);
          assert.deepEqual(viewer.complaints, []);
          await viewer.page.evaluate(() => document.querySelector('#room-list .active .leave').click());
          await viewer.close();
        }
      }
    });
  });
});
