// Who is there, who is away, who is writing.

import assert from 'node:assert/strict';
import { onStage } from './harness.js';

const MINUTE = 60_000;

const typingSays = ({ page }, text) => page.waitForFunction((wanted) => document.querySelector('#typing').textContent === wanted, text);
/** The member list as one reads it: name, and the state in words. */
const members = ({ page }) => page.locator('#people-list li').evaluateAll((rows) => rows.map((row) => `${row.querySelector('.label').textContent}: ${row.querySelector('.status').textContent}`));
const memberIs = ({ page }, name, state) => page.locator(`#people-list li.${state}`).filter({ hasText: name }).waitFor();

// Clocks are moved by minutes here, in which no heartbeat can come: that must not look like a dead connection.
onStage('people', { args: ['--grace', '1s', '--heartbeat', '30m', '--offline-timeout', '2h'] }, (stage) => {
  stage.test('typing_is_shown_for_one_two_and_several_and_ends', async () => {
    const ada = await (await stage.visit()).enter('ada-sees', 'typing');
    const robots = await stage.robots();
    for (const name of ['alice', 'bob', 'carol']) await robots.join(name, 'typing');
    await robots.typing('alice', 'typing');
    await typingSays(ada, 'alice is typing…');
    await robots.typing('bob', 'typing');
    await typingSays(ada, 'alice and bob are typing…');
    await robots.typing('carol', 'typing');
    await typingSays(ada, 'Several people are typing…');
    assert.equal(await ada.page.locator('#typing').getAttribute('aria-live'), 'polite');
    // It ends with the message, by being told so, and with who leaves.
    await robots.say('carol', 'typing', 'sent');
    await typingSays(ada, 'alice and bob are typing…');
    await robots.command('alice', { type: 'leave', room: 'typing' });
    await typingSays(ada, 'bob is typing…');
    await ada.goTo('elsewhere');
    await typingSays(ada, '');
    await ada.page.locator('#room-list').getByText('typing', { exact: true }).click();
    await robots.typing('bob', 'typing', false);
    await typingSays(ada, '');
  });

  stage.test('typing_expires_by_itself_when_nobody_says_that_it_ended', async () => {
    const ada = await stage.visit({}, async (page) => {
      await page.clock.install();
      await page.routeWebSocket(/\/ws/, (socket) => {
        const server = socket.connectToServer();
        server.onMessage((text) => {
          const { type, data } = JSON.parse(text);
          if (type !== 'typing' || data.isTyping) socket.send(text);
        });
      });
    });
    await ada.enter('ada-expires', 'expires');
    const robots = await (await stage.robots()).join('alice-expires', 'expires');
    await robots.typing('alice-expires', 'expires');
    await typingSays(ada, 'alice-expires is typing…');
    await ada.page.clock.runFor(5_000);
    await typingSays(ada, 'alice-expires is typing…');
    await ada.page.clock.fastForward(3_000);
    await typingSays(ada, '');
  });

  stage.test('own_typing_is_told_and_taken_back', async () => {
    const ada = await (await stage.visit()).enter('ada-writes', 'writes');
    const bob = await (await stage.visit()).enter('bob-reads', 'writes');
    await ada.box.pressSequentially('he');
    await typingSays(bob, 'ada-writes is typing…');
    assert.equal(await ada.page.locator('#typing').textContent(), '', 'one knows what one does');
    await ada.box.fill('');
    await typingSays(bob, '');
  });

  stage.test('members_are_listed_with_what_they_are_up_to', async () => {
    const ada = await (await stage.visit()).enter('ada', 'members');
    const robots = await stage.robots();
    for (const name of ['zoe', 'bob']) await robots.join(name, 'members');
    await memberIs(ada, 'zoe', 'online');
    await robots.command('bob', { type: 'status', status: 'away' });
    await memberIs(ada, 'bob', 'away');
    assert.deepEqual(await members(ada), ['ada you: online', 'zoe: online', 'bob: away']);
    assert.equal(await ada.page.locator('#count').textContent(), '3 members');
    await robots.command('bob', { type: 'status', status: 'online' });
    await memberIs(ada, 'bob', 'online');
    assert.deepEqual(await members(ada), ['ada you: online', 'bob: online', 'zoe: online']);
    await robots.command('zoe', { type: 'leave', room: 'members' });
    await ada.shows(2, '#people-list li');
    // The dot says the same as the word, and each state has a colour of its own.
    await robots.command('bob', { type: 'status', status: 'away' });
    await memberIs(ada, 'bob', 'away');
    const dot = (row) => row.evaluate((item) => getComputedStyle(item.querySelector('.avatar'), '::after').backgroundColor);
    const rows = ada.page.locator('#people-list li');
    assert.notEqual(await dot(rows.nth(0)), await dot(rows.nth(1)));
  });

  stage.test('who_goes_offline_is_shown_so', async () => {
    let told;
    const ada = await stage.visit({}, (page) =>
      page.routeWebSocket(/\/ws/, (socket) => {
        socket.connectToServer();
        told = (data) => socket.send(JSON.stringify({ type: 'status', data }));
      }),
    );
    await ada.enter('ada-offline', 'offline');
    const robots = await (await stage.robots()).join('bob-offline', 'offline');
    await memberIs(ada, 'bob-offline', 'online');
    // A guest leaves right after, so the moment is held by hand.
    told({ room: 'offline', user: 'bob-offline', status: 'offline' });
    await memberIs(ada, 'bob-offline', 'offline');
    assert.deepEqual(await members(ada), ['ada-offline you: online', 'bob-offline: offline']);
    await robots.command('bob-offline', { type: 'leave', room: 'offline' });
    await ada.shows(1, '#people-list li');
  });

  stage.test('page_hidden_for_five_minutes_is_away_until_it_is_looked_at', async () => {
    const ada = await (await stage.visit({}, (page) => page.clock.install())).enter('ada-away', 'away');
    const bob = await (await stage.visit()).enter('bob-away', 'away');
    await memberIs(bob, 'ada-away', 'online');
    await ada.turnTab('hidden');
    await ada.page.clock.runFor(4 * MINUTE);
    // Who looks in between begins anew.
    await ada.turnTab('visible');
    await ada.turnTab('hidden');
    await ada.page.clock.runFor(4 * MINUTE);
    await ada.say('still here');
    await bob.sees('still here');
    assert.deepEqual(await members(bob), ['ada-away: online', 'bob-away you: online']);
    await ada.page.clock.runFor(1.1 * MINUTE);
    await memberIs(bob, 'ada-away', 'away');
    await ada.turnTab('visible');
    await memberIs(bob, 'ada-away', 'online');
  });
});
