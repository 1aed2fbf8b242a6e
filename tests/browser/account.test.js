// Accounts, private conversations and changes of messages, as people meet them: a real Chromium against the real server.

import assert from 'node:assert/strict';
import { onStage } from './harness.js';

const PASSWORD = 'correct horse battery';

/** Comes in through the door by `way`: `Log in` or `Register`. */
async function prove(person, way, name, { password = PASSWORD, room = null } = {}) {
  const { page } = person;
  await page.getByRole('radio', { name: way }).check();
  await page.getByLabel('Your name').fill(name);
  await page.locator('#welcome-password').fill(password);
  if (room) await page.locator('#welcome-room').fill(room);
  await page.keyboard.press('Enter');
}

/** Is shown as `name` once it is let in. */
async function isLetIn(person, name) {
  await person.connected();
  await person.page.waitForFunction((text) => document.querySelector('#me-name').textContent === text, name);
  return person;
}

async function register(person, name, room = null) {
  await prove(person, 'Register', name, { room });
  return isLetIn(person, name);
}

/** Logs in to an account that the operator made. */
async function member(stage, name, room) {
  stage.server.account(name, PASSWORD);
  const person = await stage.visit();
  await prove(person, 'Log in', name, { room });
  return isLetIn(person, name);
}

/** Turns to the private conversation with a member of the room, by a click on their name. */
const talkTo = (person, name) => person.page.locator('#people-list').getByRole('button', { name }).click();

/** What one can do with the last message. */
async function tool(person, label) {
  await person.page.locator('.message').last().hover();
  await person.page.getByRole('toolbar').getByRole('button', { name: label }).click();
}

const rooms = (person, list = '#room-list') => person.page.locator(`${list} .label`).allTextContents();

onStage('accounts', {}, (stage) => {
  stage.test('account_is_registered_and_its_rooms_follow_it_to_another_browser', async () => {
    const ada = await register(await stage.visit(), 'ada', 'workshop');
    await ada.page.evaluate(() => (location.hash = '#second'));
    await ada.page.locator('#room-list').getByText('second').waitFor();
    await ada.say('here I am');
    await ada.sees('here I am');
    // Its rooms are told to the server over HTTP, after they are joined.
    await ada.page.waitForFunction(() => JSON.parse(localStorage[`roomlog rooms ${document.querySelector('#me-name').textContent}`]).rooms.every(({ isKept }) => isKept));
    const other = await stage.visit();
    await prove(other, 'Log in', 'ada');
    await other.connected();
    await other.page.locator('#room-list').getByText('second').waitFor();
    assert.deepEqual((await rooms(other)).sort(), ['general', 'second', 'workshop']);
    // Two browsers of one account are one member.
    await ada.page.waitForFunction(() => document.querySelectorAll('#people-list .member').length === 1);
    assert.equal(await ada.page.locator('#people-count').textContent(), '1');
  });

  stage.test('login_survives_a_reload_and_a_restart_of_the_server', async () => {
    const ada = await member(stage, 'ada-stays', 'stays');
    await ada.page.reload();
    await ada.connected();
    await stage.server.stop();
    await stage.server.start();
    await ada.connected();
    await ada.page.locator('#me').click();
    await ada.page.getByRole('dialog').getByText('Logged in.').waitFor();
    assert.equal(await ada.page.locator('#you-title').textContent(), 'ada-stays');
  });

  stage.test('two_tabs_of_an_account_are_one_member_and_both_hear', async () => {
    const ada = await member(stage, 'ada-tabs', 'tabs');
    const second = await ada.context.newPage();
    await second.goto(stage.server.url);
    await second.locator('#app[data-link="connected"]').waitFor();
    await ada.say('to both');
    await second.locator('.message .body').getByText('to both').waitFor();
    assert.deepEqual(await second.locator('#people-list .label').allTextContents(), ['ada-tabs you']);
    await second.close({ runBeforeUnload: true });
    await ada.page.waitForFunction(() => document.querySelectorAll('#people-list .member').length === 1);
  });

  stage.test('guest_that_has_the_name_in_another_tab_is_told_so', async () => {
    const ada = await (await stage.visit()).enter('ada-guest', 'guests');
    const second = await ada.context.newPage();
    await second.goto(stage.server.url);
    await second.getByText('You have this name in another tab.').waitFor();
  });

  stage.test('guest_in_another_tab_does_not_undo_a_login', async () => {
    const ada = await (await stage.visit()).enter('ada-first', 'first');
    const second = await ada.context.newPage();
    await second.goto(stage.server.url);
    await second.getByText('You have this name in another tab.').waitFor();
    await prove({ page: second }, 'Register', 'ada-second');
    await second.locator('#app[data-link="connected"]').waitFor();
    // The guest's page goes on keeping what it has read.
    await ada.say('still a guest');
    await ada.sees('still a guest');
    await ada.page.waitForFunction(() => localStorage['roomlog rooms ada-first'].includes('"read":1'));
    assert.equal(await second.evaluate(() => JSON.parse(localStorage.roomlog).user), 'ada-second');
    await second.reload();
    await second.locator('#app[data-link="connected"]').waitFor();
    await second.locator('#me-name').getByText('ada-second').waitFor();
    await ada.page.reload();
    await ada.connected();
    assert.equal(await ada.page.locator('#me-name').textContent(), 'ada-first', 'each page stays who it is');
  });

  stage.test('wrong_password_is_said_and_nothing_else_happens', async () => {
    await member(stage, 'ada-door', 'door');
    const other = await stage.visit();
    await prove(other, 'Log in', 'ada-door', { password: 'wrong password' });
    await other.page.locator('#welcome-why').getByText(/password/i).waitFor();
    other.complaints = other.complaints.filter((text) => !/401/.test(text));
    assert.equal(await other.page.locator('#app').getAttribute('data-link'), 'idle');
    // The name alone is not enough either.
    await other.page.getByRole('radio', { name: 'Guest' }).check();
    await other.page.keyboard.press('Enter');
    await other.page.getByText(/registered/).waitFor();
    await prove(other, 'Log in', 'ada-door');
    await other.connected();
  });

  stage.test('guest_registers_its_name_and_keeps_its_rooms', async () => {
    const ada = await (await stage.visit()).enter('ada-grows', 'grows');
    await ada.say('as a guest');
    await ada.page.locator('#me').click();
    await ada.page.getByRole('button', { name: 'Create an account' }).click();
    await prove(ada, 'Register', 'ada-grows');
    await ada.page.locator('#welcome').waitFor({ state: 'hidden' });
    await ada.page.waitForFunction(() => JSON.parse(localStorage[`roomlog rooms ${document.querySelector('#me-name').textContent}`]).rooms.every(({ isKept }) => isKept));
    assert.deepEqual(await rooms(ada), ['grows']);
    await ada.sees('as a guest');
  });

  stage.test('logout_ends_the_token_and_asks_who_is_next', async () => {
    const ada = await member(stage, 'ada-leaves', 'leaves');
    const token = await ada.page.evaluate(() => JSON.parse(localStorage.roomlog).token);
    await ada.page.locator('#me').click();
    const revoked = ada.page.waitForResponse((response) => response.request().method() === 'DELETE');
    await ada.page.getByRole('button', { name: 'Log out' }).click();
    assert.equal((await revoked).status(), 204);
    await ada.page.locator('#welcome').waitFor();
    const left = JSON.stringify(await ada.page.evaluate(() => ({ ...localStorage })));
    assert.ok(!left.includes(token) && !left.includes('ada-leaves'), left);
    const answer = await fetch(`${stage.server.url}/api/me/rooms`, { headers: { Authorization: `Bearer ${token}` } });
    assert.equal(answer.status, 401);
  });

  stage.test('new_password_ends_every_other_login', async () => {
    const ada = await member(stage, 'ada-new', 'new');
    const other = await stage.visit();
    await prove(other, 'Log in', 'ada-new');
    await other.connected();
    await ada.page.locator('#me').click();
    await ada.page.getByText('Change password').first().click();
    await ada.page.locator('#you-old').fill(PASSWORD);
    await ada.page.locator('#you-new').fill('another horse');
    await ada.page.keyboard.press('Enter');
    await ada.page.getByText('Every other login of yours is over').waitFor();
    await other.page.getByText('Your login is over.').waitFor();
    await ada.page.reload();
    await ada.connected();
    await prove(other, 'Log in', 'ada-new', { password: 'another horse' });
    await other.connected();
  });
});

onStage('members only', { args: ['--guests', 'no'] }, (stage) => {
  stage.test('server_without_guests_asks_for_a_login_and_does_not_loop', async () => {
    const ada = await stage.visit();
    let sockets = 0;
    ada.page.on('websocket', () => (sockets += 1));
    await ada.page.getByLabel('Your name').fill('ada');
    await ada.page.keyboard.press('Enter');
    await ada.page.getByText('Here, one needs an account.').waitFor();
    assert.equal(await ada.page.getByRole('radio', { name: 'Log in' }).isChecked(), true);
    assert.equal(sockets, 1);
    await register(ada, 'ada');
    await ada.say('in');
    await ada.sees('in');
  });
});

onStage('private conversations', {}, (stage) => {
  stage.test('click_on_a_member_begins_one_that_is_marked_and_counted', async () => {
    const ada = await member(stage, 'ada', 'yard');
    const bob = await member(stage, 'bob', 'yard');
    const eve = await (await stage.visit()).enter('eve', 'yard');
    await talkTo(ada, 'bob');
    await ada.page.getByRole('heading', { name: 'bob', exact: true }).waitFor();
    assert.equal(await ada.page.locator('#count').textContent(), 'Private');
    await ada.say('psst');
    await ada.sees('psst');
    await bob.page.locator('#direct-list .badge').getByText('1').waitFor();
    assert.match(await bob.page.title(), /^\(1\) /);
    await bob.page.locator('#direct-list').getByRole('button', { name: 'ada' }).first().click();
    await bob.sees('psst');
    await bob.page.locator('#direct-list .badge').waitFor({ state: 'detached' });
    await bob.say('yes?');
    await ada.sees('yes?');
    assert.deepEqual(await ada.log(), [[1, 'psst'], [2, 'yes?']]);
    assert.deepEqual(await ada.page.locator('#people-list .label').allTextContents(), ['ada you', 'bob']);
    await eve.say('public');
    await eve.sees('public');
    assert.deepEqual(await rooms(eve, '#direct-list'), [], 'nobody else hears of it');
  });

  stage.test('what_was_said_while_one_was_away_is_there_and_unread', async () => {
    const ada = await member(stage, 'ada-away', 'away');
    const bob = await member(stage, 'bob-away', 'away');
    await ada.page.locator('#people-list').getByText('bob-away').waitFor();
    await bob.page.goto('about:blank');
    await talkTo(ada, 'bob-away');
    await ada.say('when you are back');
    await ada.sees('when you are back');
    await bob.page.goto(stage.server.url);
    await bob.page.locator('#direct-list .badge').getByText('1').waitFor();
    await bob.page.locator('#direct-list .room').click();
    await bob.sees('when you are back');
    await bob.page.reload();
    await bob.sees('when you are back');
    assert.equal(await bob.page.locator('#title').textContent(), 'ada-away', 'its URL leads back to it');
  });

  stage.test('guest_is_told_that_nobody_keeps_it', async () => {
    const bob = await (await stage.visit()).enter('bob-guest', 'lawn');
    const eve = await (await stage.visit()).enter('eve-guest', 'lawn');
    await talkTo(eve, 'bob-guest');
    await eve.say('between us');
    await eve.sees('between us');
    await eve.page.getByText('nobody keeps it').waitFor();
    await bob.page.locator('#direct-list .badge').waitFor();
    await bob.page.locator('#direct-list .room').click();
    await bob.say('heard');
    await eve.sees('heard');
    await bob.page.goto('about:blank');
    // Gone for good, after the grace period of a tab that was closed: then there is nobody to receive it.
    await stage.server.stop();
    await stage.server.start();
    await eve.connected();
    await eve.say('still there?');
    await eve.page.locator('.actions .state').getByText(/Not sent: /).waitFor();
    assert.deepEqual((await eve.log()).map(([, text]) => text), ['between us', 'heard']);
  });
});

onStage('changes', {}, (stage) => {
  stage.test('edit_and_deletion_are_seen_by_all_and_by_who_comes_later', async () => {
    const ada = await (await stage.visit()).enter('ada', 'edits');
    const bob = await (await stage.visit()).enter('bob', 'edits');
    await ada.say('teh first');
    await ada.say('a mistake');
    await bob.sees('a mistake');
    await tool(ada, 'Delete');
    await ada.page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await bob.page.getByText('Message deleted').waitFor();
    // The arrow opens the last message that can be edited.
    await ada.page.getByRole('textbox', { name: 'Message' }).press('ArrowUp');
    await ada.page.getByText('Editing a message').waitFor();
    await ada.page.getByRole('textbox', { name: 'Message' }).fill('the first');
    await ada.page.keyboard.press('Enter');
    await bob.page.getByText('the first (edited)').waitFor();
    const late = await (await stage.visit()).enter('late', 'edits');
    await late.page.getByText('the first (edited)').waitFor();
    assert.deepEqual(await late.log(), [[1, 'the first (edited)'], [2, 'Message deleted']]);
    assert.deepEqual(await late.log(), await bob.log());
    assert.equal(await bob.count('.tools'), 0, 'nobody is offered what they may not do');
  });

  stage.test('edit_begun_and_given_up_leaves_the_draft_as_it_was', async () => {
    const ada = await (await stage.visit()).enter('ada-draft', 'drafts');
    const box = ada.page.getByRole('textbox', { name: 'Message' });
    await ada.say('said');
    await ada.sees('said');
    await box.fill('half a thought');
    await tool(ada, 'Edit');
    assert.equal(await box.inputValue(), 'said');
    await box.press('Escape');
    assert.equal(await box.inputValue(), 'half a thought');
    assert.deepEqual(await ada.log(), [[1, 'said']]);
  });

  stage.test('edit_made_offline_is_kept_and_saved_later', async () => {
    const ada = await (await stage.visit()).enter('ada-offline', 'offline');
    await ada.say('before');
    await ada.sees('before');
    await stage.server.stop('SIGKILL');
    await ada.page.locator('#banner').waitFor();
    await tool(ada, 'Edit');
    await ada.page.getByRole('textbox', { name: 'Message' }).fill('after');
    await ada.page.keyboard.press('Enter');
    await ada.page.getByText('after (saving…)').waitFor();
    await stage.server.start();
    // A restart ends a guest's hold on what it wrote: the server says so, and the text is offered again.
    await ada.page.locator('.actions .state').getByText(/Not sent: /).waitFor();
    await ada.page.getByRole('button', { name: 'Discard' }).click();
    assert.deepEqual(await ada.log(), [[1, 'before']]);
    const bob = await member(stage, 'bob-offline', 'offline');
    await bob.say('one');
    await bob.sees('one');
    await stage.server.stop('SIGKILL');
    await bob.page.locator('#banner').waitFor();
    await tool(bob, 'Edit');
    await bob.page.getByRole('textbox', { name: 'Message' }).fill('two');
    await bob.page.keyboard.press('Enter');
    await bob.page.getByText('two (saving…)').waitFor();
    await stage.server.start();
    await bob.page.getByText('two (edited)').waitFor();
  });

  stage.test('keyboard_alone_edits_and_deletes_and_comes_back_to_the_message', async () => {
    const ada = await (await stage.visit()).enter('ada-keys', 'keys');
    const { page } = ada;
    for (const text of ['one', 'two', 'three']) await ada.say(text);
    await ada.sees('three');
    await page.keyboard.press('Shift+Tab');
    await page.waitForFunction(() => document.activeElement.id === 'log');
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('ArrowUp');
    const focused = () => page.evaluate(() => document.activeElement.closest('[data-sequence]')?.dataset.sequence);
    assert.equal(await focused(), '2');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.keyboard.type('!');
    await page.keyboard.press('Enter');
    await page.getByText('two! (edited)').waitFor();
    await page.keyboard.press('Shift+Tab');
    await page.keyboard.press('ArrowUp');
    assert.equal(await focused(), '3');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor();
    await page.keyboard.press('Enter');
    await page.getByText('Message deleted').waitFor();
    assert.equal(await focused(), '3');
  });
});

onStage('outbox', {}, (stage) => {
  stage.test('message_written_offline_survives_the_tab_and_is_sent_by_the_next_one', async () => {
    const ada = await (await stage.visit()).enter('ada-box', 'box');
    await ada.say('before');
    await ada.sees('before');
    await stage.server.stop('SIGKILL');
    await ada.page.locator('#banner').waitFor();
    await ada.say('while away');
    await ada.shows(1, '.pending');
    // A page that was killed has no time to save anything.
    await ada.page.close();
    await stage.server.start();
    const second = await ada.context.newPage();
    await second.goto(stage.server.url);
    ada.page = second;
    await ada.sees('while away');
    await ada.shows(0, '.pending');
    assert.deepEqual(await ada.log(), [[1, 'before'], [2, 'while away']]);
    assert.deepEqual(await second.evaluate(() => Object.keys(localStorage).filter((key) => key.includes('unsent'))), [], 'nothing is left behind');
  });

  stage.test('two_pages_that_both_send_it_make_one_message', async () => {
    const ada = await member(stage, 'ada-both', 'both');
    await ada.say('before');
    await ada.sees('before');
    await stage.server.stop('SIGKILL');
    await ada.page.locator('#banner').waitFor();
    await ada.say('once');
    const kept = await ada.page.evaluate(() => ({ ...localStorage }));
    await stage.server.start();
    await ada.sees('once');
    // A page that still finds it in the storage, as one that was opened a moment earlier would.
    const second = await ada.context.newPage();
    await second.addInitScript((items) => Object.assign(localStorage, items), kept);
    await second.goto(stage.server.url);
    await second.locator('.message:not(.pending) .body').getByText('once').waitFor();
    await second.waitForFunction(() => !document.querySelector('.pending') && !Object.keys(localStorage).some((key) => key.includes('unsent')));
    assert.deepEqual(await ada.log(), [[1, 'before'], [2, 'once']]);
  });
});
