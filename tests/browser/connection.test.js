// The connection: what it looks like, how it comes back, when it does not, and that nothing is lost or doubled by it.

import assert from 'node:assert/strict';
import { onStage, range } from './harness.js';

const TERMINAL = [1000, 1002, 1003, 1007, 1008, 1009, 4500, 4501, 4999];
const COMES_BACK = [1001, 1011, 1013, 4000, 4499];
const CEILINGS_MS = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000];

/** Steps between the page and the server. `gate.onConnect(socket)` decides about each attempt; `gate.attempts` counts them. */
async function gateOf(page, onConnect = (socket) => socket.connectToServer()) {
  const gate = { attempts: 0, onConnect };
  await page.routeWebSocket(/\/ws/, (socket) => {
    gate.attempts += 1;
    return gate.onConnect(socket, gate.attempts);
  });
  return gate;
}

/** A page whose jitter is always the most, whose clock can be moved, and whose socket is a gate. */
async function visitWithClock(stage, name) {
  let gate;
  const person = await stage.visit({}, async (page) => {
    gate = await gateOf(page);
    await page.addInitScript(() => (Math.random = () => 0.999_999));
    await page.clock.install();
  });
  await person.enter(name, 'clock');
  return { person, gate };
}

/** The seconds that the banner says are left. */
async function secondsLeft({ page }) {
  const text = await page.locator('#banner-text').getByText(/^Connection lost. Reconnecting in \d+ s$/).textContent();
  return Number(/\d+/.exec(text)[0]);
}

/** Fails until the wait is long, so that whoever comes back within a test's patience did not wait for it. */
async function waitLong(person, gate) {
  gate.onConnect = (socket) => socket.close({ code: 1013 });
  await stateIs(person, 'reconnecting');
  while ((await secondsLeft(person)) < 25) await person.page.clock.fastForward(1_000);
}

const state = ({ page }) => page.locator('#app').getAttribute('data-link');
const stateIs = ({ page }, wanted) => page.locator(`#app[data-link="${wanted}"]`).waitFor();
const bannerSays = ({ page }, text) => page.locator('#banner-text').getByText(text, { exact: true }).waitFor();

onStage('connection', {}, (stage) => {
  stage.test('comes_back_after_half_a_second_doubling_to_thirty', async () => {
    const { person, gate } = await visitWithClock(stage, 'ada-backoff');
    const { clock } = person.page;
    await clock.pauseAt(await person.page.evaluate(() => Date.now() + 1_000));
    gate.onConnect = (socket) => socket.close({ code: 1013 });
    await stage.server.stop();
    for (const [index, ceiling] of CEILINGS_MS.entries()) {
      const step = ceiling / 10;
      let waited = 0;
      for (; gate.attempts === 1 + index && waited < 2 * ceiling; waited += step) await clock.runFor(step);
      assert.equal(gate.attempts, 2 + index);
      // Three steps are for the close to reach the page, the attempt to reach the gate, and rounding.
      assert.ok(waited > ceiling - 3 * step && waited <= ceiling + 3 * step, `${waited} ms instead of ${ceiling}`);
    }
  });

  stage.test('banner_counts_down_and_its_button_does_not_wait', async () => {
    const { person, gate } = await visitWithClock(stage, 'ada-banner');
    await stage.server.stop();
    await waitLong(person, gate);
    const before = await secondsLeft(person);
    await person.page.clock.fastForward(10_000);
    await person.page.waitForFunction((limit) => Number(/\d+/.exec(document.querySelector('#banner-text').textContent)[0]) <= limit, before - 10);
    assert.ok((await secondsLeft(person)) > before - 18);
    await stage.server.start();
    gate.onConnect = (socket) => socket.connectToServer();
    await person.page.getByRole('button', { name: 'Retry now' }).click();
    await person.connected();
    await person.page.locator('#banner').waitFor({ state: 'hidden' });
  });

  stage.test('comes_back_at_once_when_the_network_does_or_the_tab_is_looked_at', async () => {
    const { person, gate } = await visitWithClock(stage, 'ada-online');
    let current;
    const letIn = (socket) => {
      current = socket;
      socket.connectToServer();
    };
    await stage.server.stop();
    await waitLong(person, gate);
    await stage.server.start();
    await person.context.setOffline(true);
    await stateIs(person, 'offline');
    await person.page.locator('#banner').getByText('You are offline').waitFor();
    gate.onConnect = letIn;
    await person.context.setOffline(false);
    await person.connected();
    gate.onConnect = (socket) => socket.close({ code: 1013 });
    await current.close({ code: 1013 });
    await waitLong(person, gate);
    gate.onConnect = letIn;
    await person.turnTab('hidden');
    await person.turnTab('visible');
    await person.connected();
  });

  stage.test('terminal_close_codes_are_told_and_do_not_loop', async () => {
    const person = await stage.visit();
    const gate = await gateOf(person.page);
    await person.page.clock.install();
    for (const code of TERMINAL) {
      gate.onConnect = (socket) => socket.close({ code, reason: `because ${code}` });
      await person.page.reload();
      const before = gate.attempts;
      if (await person.page.locator('#welcome-room').isVisible()) await person.knock('ada-terminal', 'terminal');
      await bannerSays(person, `Disconnected by the server: because ${code}`);
      await person.page.clock.fastForward(10 * 60_000);
      await person.turnTab('hidden');
      await person.turnTab('visible');
      await person.page.evaluate(() => window.dispatchEvent(new Event('online')));
      await person.page.clock.runFor(1_000);
      assert.equal(await state(person), 'stopped', String(code));
      assert.ok(gate.attempts <= before + 1, String(code));
    }
    // A person can still try.
    gate.onConnect = (socket) => socket.connectToServer();
    await person.page.getByRole('button', { name: 'Retry now' }).click();
    await person.connected();
  });

  stage.test('other_close_codes_come_back_by_themselves', async () => {
    const person = await stage.visit({}, (page) => page.addInitScript(() => (Math.random = () => 0)));
    let current;
    const gate = await gateOf(person.page, (socket) => {
      current = socket;
      socket.connectToServer();
    });
    await person.page.reload();
    await person.enter('ada-back', 'back');
    for (const [index, code] of COMES_BACK.entries()) {
      await current.close({ code });
      await person.page.waitForFunction(() => document.querySelector('#app').dataset.link === 'connected');
      await person.say(`after ${code}`);
      await person.sees(`after ${code}`);
      assert.ok(gate.attempts >= index + 2, String(code));
    }
    assert.deepEqual(await person.sequences(), range(1, COMES_BACK.length));
  });

  stage.test('state_is_a_dot_and_a_word', async () => {
    const seen = new Map();
    let letGo;
    const person = await stage.visit();
    const gate = await gateOf(person.page, async (socket) => {
      await new Promise((resolve) => (letGo = resolve));
      socket.connectToServer();
    });
    await person.page.emulateMedia({ reducedMotion: 'reduce' });
    await person.page.reload();
    const look = async (wanted, word) => {
      await stateIs(person, wanted);
      await person.page.locator('#link-text').getByText(word, { exact: true }).waitFor();
      const dot = person.page.locator('.link .dot');
      const box = await dot.boundingBox();
      assert.ok(box.width >= 6 && box.height >= 6, `${wanted}: the dot is seen`);
      seen.set(wanted, await dot.evaluate((element) => getComputedStyle(element).backgroundColor));
    };
    await person.knock('ada-states', 'states');
    await look('connecting', 'Connecting…');
    letGo();
    await look('connected', 'Connected');
    gate.onConnect = (socket) => socket.close({ code: 1013 });
    await stage.server.stop();
    await look('reconnecting', 'Reconnecting');
    await person.context.setOffline(true);
    await look('offline', 'Offline');
    assert.equal(seen.get('connecting'), seen.get('reconnecting'));
    assert.equal(new Set(seen.values()).size, 3, [...seen].join(' '));
  });

  stage.test('latency_is_the_time_from_ping_to_pong', async () => {
    const held = [];
    let isHolding = false;
    const person = await stage.visit({}, async (page) => {
      await page.clock.install();
      await gateOf(page, (socket) => {
        const server = socket.connectToServer();
        server.onMessage((text) => {
          const isPong = JSON.parse(text).type === 'pong';
          if (isPong && isHolding) held.push(() => socket.send(text));
          else socket.send(text);
        });
      });
    });
    await person.enter('ada-latency', 'latency');
    const shown = person.page.locator('#link-detail');
    await shown.getByText(/^\d+ ms$/).waitFor();
    await person.page.clock.pauseAt(await person.page.evaluate(() => Date.now() + 1_000));
    isHolding = true;
    await person.turnTab('hidden');
    await person.turnTab('visible'); // which asks whether the server is still there
    await person.page.clock.runFor(234);
    while (!held.length) await new Promise((resolve) => setImmediate(resolve));
    held.shift()();
    await person.page.clock.runFor(20);
    await person.page.clock.resume();
    await shown.getByText(/^23\d ms$/).waitFor();
  });

  stage.test('server_restart_resumes_without_hole_or_duplicate', async () => {
    const ada = await (await stage.visit()).enter('ada-resume', 'resume');
    const bob = await (await stage.visit()).enter('bob-resume', 'resume');
    await ada.say('one');
    await bob.say('two');
    await ada.sees('two');
    await stage.server.stop('SIGTERM');
    await ada.page.locator('#banner').waitFor();
    await bob.page.locator('#banner').waitFor();
    // Bob is kept away while a hundred messages pass.
    await bob.context.setOffline(true);
    await stage.server.start();
    await ada.page.evaluate(() => document.querySelector('#retry').click());
    await ada.connected();
    const robots = await (await stage.robots()).join('carol', 'resume');
    await robots.say('carol', 'resume', ...range(3, 102).map((number) => `line ${number}`));
    await ada.sees('line 102');
    await bob.context.setOffline(false);
    await bob.sees('line 102');
    assert.deepEqual(await bob.sequences(), range(1, 102));
    assert.deepEqual(await bob.log(), await ada.log());
  });

  stage.test('offline_send_is_pending_then_exactly_one_row', async () => {
    const ada = await (await stage.visit()).enter('ada-outbox', 'outbox');
    const bob = await (await stage.visit()).enter('bob-outbox', 'outbox');
    await ada.say('before');
    await bob.sees('before');
    await stage.server.stop('SIGKILL');
    await ada.page.locator('#banner').waitFor();
    await ada.say('first while away');
    await ada.say('second while away');
    await ada.shows(2, '.pending');
    await stage.server.start();
    await ada.sees('second while away');
    await bob.sees('second while away');
    const expected = [[1, 'before'], [2, 'first while away'], [3, 'second while away']];
    assert.deepEqual(await ada.log(), expected);
    assert.deepEqual(await bob.log(), expected);
    await ada.shows(0, '.pending');
  });

  stage.test('unsent_message_survives_a_reload', async () => {
    const ada = await stage.visit();
    // The page is served while its connection does not come up.
    const gate = await gateOf(ada.page, (socket) => socket.close({ code: 1013 }));
    await ada.page.reload();
    await ada.page.getByLabel('Your name').fill('ada-kept');
    await ada.page.keyboard.press('Enter');
    await ada.say('kept');
    await ada.shows(1, '.pending');
    gate.onConnect = (socket) => socket.connectToServer();
    await ada.page.reload();
    await ada.sees('kept');
    await ada.shows(0, '.pending');
    assert.equal((await ada.log()).filter(([, text]) => text === 'kept').length, 1);
  });
});
