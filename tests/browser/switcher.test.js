// Getting about without a mouse: the room switcher, notifications, completion. The order of rooms in Node, the rest in a
// real Chromium against the real server.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { importPage, openBrowser, Person, Server } from './harness.js';

const { choices } = await importPage();

describe('rooms to choose from', () => {
  const roomOf = (name, fields = {}) => [name, { name, unread: 0, ...fields }];
  const listed = (room, members) => ({ room, members });
  const namesFor = (typed, fields = {}) =>
    choices({ rooms: new Map(), active: null, visits: [], listed: [], typed, ...fields }).map(({ name, isNew }) => (isNew ? `+${name}` : name));

  it('are_own_ones_by_visit_then_the_servers_by_size_and_the_one_looked_at_last_of_its_kind', () => {
    const rooms = new Map(['a', 'b', 'c', 'd'].map((name) => roomOf(name)));
    const fields = { rooms, active: 'c', visits: ['c', 'b', 'gone'], listed: [listed('a', 9), listed('small', 1), listed('large', 5)] };
    assert.deepEqual(namesFor('', fields), ['b', 'a', 'd', 'c', 'large', 'small']);
  });

  it('match_best_by_the_whole_then_its_beginning_then_a_words_then_any_part', () => {
    const rooms = new Map(['redevelop', 'old-dev', 'Development'].map((name) => roomOf(name)));
    const fields = { rooms, listed: [listed('dev', 1), listed('x', 9), listed('devices', 2)] };
    assert.deepEqual(namesFor('dev', fields), ['dev', 'Development', 'devices', 'old-dev', 'redevelop']);
  });

  it('end_with_the_one_typed_unless_it_exists_by_exactly_that_name', () => {
    const rooms = new Map([roomOf('general')]);
    assert.deepEqual(namesFor(' #general ', { rooms }), ['general']);
    assert.deepEqual(namesFor('General', { rooms }), ['general', '+General']);
    assert.deepEqual(namesFor('gen', { rooms }), ['general', '+gen']);
    assert.deepEqual(namesFor('#', { rooms }), ['general']);
    assert.deepEqual(namesFor('##', {}), ['+#']);
  });

  it('are_conversations_too_by_the_name_of_the_other_one', () => {
    const rooms = new Map([roomOf('@dm:1', { peer: 'bob' }), roomOf('bobsleigh')]);
    assert.deepEqual(namesFor('bob', { rooms }), ['@dm:1', 'bobsleigh', '+bob']);
    assert.deepEqual(namesFor('@bob', { rooms }), ['@dm:1']);
    assert.deepEqual(namesFor('#bob', { rooms }), ['bobsleigh', '+bob']);
    assert.deepEqual(choices({ rooms, active: null, visits: [], listed: [], typed: '@' }).map(({ sigil, title }) => sigil + title), ['@bob']);
  });
});

describe('keyboard and notifications', { timeout: 120_000 }, () => {
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

  const test = (name, body) =>
    it(name, async () => {
      try {
        await body();
      } finally {
        const complaints = people.flatMap((person) => person.complaints);
        await Promise.all(people.splice(0).map((person) => person.close()));
        assert.deepEqual(complaints, []);
      }
    });

  const inputOf = ({ page }) => page.getByRole('combobox', { name: 'Find or join a room' });
  const optionsOf = ({ page }) => page.getByRole('option');
  const textOf = (person) => person.page.getByRole('textbox', { name: 'Message' });
  const room = (person, name) => person.page.waitForFunction((hash) => location.hash === hash, `#${name}`);

  /** What a screen reader is told is chosen, which has to be the one option that is selected. */
  async function chosen({ page }) {
    return page.evaluate(() => {
      const input = document.activeElement;
      const option = document.getElementById(input.getAttribute('aria-activedescendant'));
      const isOne = document.querySelectorAll('[role=option][aria-selected=true]').length === 1;
      const isWithin = option.closest('[role=listbox]').id === input.getAttribute('aria-controls');
      return isOne && isWithin && option.ariaSelected === 'true' && input.ariaExpanded === 'true' ? option.dataset.room : 'broken';
    });
  }

  describe('switcher', () => {
    test('opens_over_a_text_field_and_gives_the_focus_back', async () => {
      const ada = await (await visit()).enter('ada', 'home');
      await textOf(ada).fill('half a sent');
      await ada.page.keyboard.press('Control+k');
      await inputOf(ada).waitFor();
      await ada.page.keyboard.type('x');
      await ada.page.keyboard.press('Escape');
      await inputOf(ada).waitFor({ state: 'hidden' });
      await ada.page.keyboard.type('ence');
      assert.equal(await textOf(ada).inputValue(), 'half a sentence');
      await ada.page.keyboard.press('Control+k');
      await ada.page.keyboard.press('Control+k');
      await inputOf(ada).waitFor({ state: 'hidden' });
      assert.equal(await ada.page.evaluate(() => document.activeElement.id), 'text');
    });

    test('stays_closed_while_the_door_is_open', async () => {
      const guest = await visit();
      await guest.page.getByLabel('Your name').press('Control+k');
      assert.equal(await guest.page.evaluate(() => document.activeElement.id), 'welcome-name');
      assert.equal(await inputOf(guest).isVisible(), false);
    });

    test('is_a_combobox_whose_arrows_choose_and_whose_enter_opens', async () => {
      const ada = await (await visit()).enter('ada', 'one');
      for (const name of ['two', 'three']) await ada.goTo(name);
      await ada.page.keyboard.press('Control+k');
      await ada.page.getByText('you are here').waitFor();
      assert.equal(await chosen(ada), 'two');
      await ada.page.keyboard.press('ArrowDown');
      assert.equal(await chosen(ada), 'one');
      await ada.page.keyboard.press('ArrowUp');
      await ada.page.keyboard.press('ArrowUp');
      const last = await optionsOf(ada).last().evaluate((option) => option.dataset.room);
      assert.equal(await chosen(ada), last, 'from the first up is the last');
      await ada.page.keyboard.type('ne');
      assert.equal(await chosen(ada), 'one');
      await ada.page.keyboard.press('Home');
      await ada.page.keyboard.type('o');
      assert.equal(await inputOf(ada).inputValue(), 'one', 'Home is a key of the text');
      await ada.page.keyboard.press('Enter');
      await room(ada, 'one');
      assert.equal(await ada.page.evaluate(() => document.activeElement.id), 'text');
    });

    test('finds_the_servers_rooms_and_joins_what_is_typed', async () => {
      const bob = await (await visit()).enter('bob', 'gardening');
      await bob.say('something said');
      await bob.sees('something said');
      const ada = await (await visit()).enter('ada', 'home');
      await ada.page.keyboard.press('Control+k');
      await ada.page.getByRole('option', { name: '#gardening 1 member' }).waitFor();
      await ada.page.keyboard.type('#garden');
      assert.deepEqual(await optionsOf(ada).evaluateAll((all) => all.map((option) => option.firstChild.textContent)), ['#gardening', 'Join #garden']);
      await ada.page.keyboard.press('Enter');
      await ada.sees('something said');
      await ada.page.keyboard.press('Control+k');
      await ada.page.keyboard.type('garden');
      await ada.page.keyboard.press('ArrowUp');
      await ada.page.keyboard.press('Enter');
      await room(ada, 'garden');
    });

    test('keeps_what_is_chosen_when_the_servers_rooms_come_late', async () => {
      const ada = await visit();
      let answer;
      const asked = new Promise((resolve) => {
        ada.page.route('**/api/rooms', (route) => {
          answer = (rooms) => route.fulfill({ json: rooms });
          resolve();
        });
      });
      await ada.enter('ada', 'home');
      await ada.page.keyboard.press('Control+k');
      await ada.page.keyboard.type('late');
      await asked;
      await answer([{ room: 'lately', members: 3 }]);
      await ada.page.getByRole('option', { name: '#lately 3 members' }).waitFor();
      assert.equal(await chosen(ada), 'late');
      await ada.page.keyboard.press('Enter');
      await room(ada, 'late');
    });

    test('works_without_the_servers_list_and_shows_unread_counts_as_they_come', async () => {
      const ada = await visit();
      await ada.page.route('**/api/rooms', (route) => route.fulfill({ status: 401, contentType: 'text/html', body: '<p>no' }));
      await ada.enter('ada', 'quiet');
      await ada.goTo('home');
      ada.complaints.length = 0; // the browser's own about the 401
      const bob = await (await visit()).enter('bob', 'quiet');
      await ada.page.keyboard.press('Control+k');
      await bob.say('psst');
      await ada.page.getByRole('option', { name: '#quiet 1 unread' }).click();
      await ada.sees('psst');
      ada.complaints.length = 0;
    });

    test('is_a_sheet_on_a_phone_with_targets_for_thumbs', async () => {
      const phone = { viewport: { width: 375, height: 700 }, hasTouch: true, isMobile: true };
      const ada = await (await visit(phone)).enter('ada', 'a-room-with-quite-a-long-name-that-has-to-be-cut-somewhere');
      await ada.page.getByRole('button', { name: 'Rooms' }).tap();
      const find = ada.page.getByRole('button', { name: 'Find or join a room' });
      assert.equal(await find.locator('kbd').isVisible(), false);
      await find.tap();
      await optionsOf(ada).first().waitFor();
      const boxes = await ada.page.locator('#switcher, #switcher :is(input, button, li)').evaluateAll((all) => all.map((each) => each.getBoundingClientRect().toJSON()));
      assert.deepEqual([boxes[0].left, boxes[0].top, boxes[0].width], [0, 0, 375]);
      assert.deepEqual(boxes.filter(({ width, height, right }) => width < 44 || height < 44 || right > 375), []);
      // Escape, or what a phone has in its place, closes the sheet alone: the drawer that it came from is still there.
      await ada.page.keyboard.press('Escape');
      await inputOf(ada).waitFor({ state: 'hidden' });
      assert.equal(await ada.page.evaluate(() => document.activeElement.id), 'find');
      await find.tap();
      await inputOf(ada).fill('elsewhere');
      await ada.page.getByRole('option', { name: 'Join #elsewhere' }).tap();
      await room(ada, 'elsewhere');
      await ada.page.locator('#backdrop').waitFor({ state: 'hidden' });
    });

    test('remembers_the_order_of_visits', async () => {
      const ada = await (await visit()).enter('ada', 'one');
      for (const name of ['two', 'three', 'one']) await ada.goTo(name);
      await ada.page.reload();
      await ada.connected();
      await ada.page.keyboard.press('Control+k');
      await ada.page.getByText('you are here').waitFor();
      const names = await optionsOf(ada).evaluateAll((all) => all.map((option) => option.dataset.room));
      assert.deepEqual(names.slice(0, 3), ['three', 'two', 'one']);
    });
  });

  describe('notifications', () => {
    /** A browser whose notifications are recorded; `answer` is what a person answers when asked for the permission. */
    async function watched(name, answer, options) {
      const person = await visit(options);
      if (answer === 'granted') await person.context.grantPermissions(['notifications']);
      await person.page.addInitScript((decision) => {
        window.asked = 0;
        window.told = [];
        let permission = 'default';
        window.Notification = class {
          static get permission() {
            return permission;
          }
          static async requestPermission() {
            window.asked += 1;
            return (permission = decision);
          }
          constructor(title, { body, tag }) {
            Object.assign(this, { title, body, tag });
            window.told.push(this);
          }
          close() {
            this.isClosed = true;
          }
        };
      }, answer);
      await person.page.reload();
      return person.enter(name, 'news');
    }
    const toggleOf = ({ page }) => page.getByRole('button', { name: 'Notifications' });
    const told = ({ page }) => page.evaluate(() => window.told.map(({ title, body, tag }) => ({ title, body, tag })));
    const turnOn = async (person) => {
      await toggleOf(person).focus();
      await person.page.keyboard.press('Enter');
      await person.page.locator('#notify[aria-pressed=true]').waitFor();
    };

    test('ask_for_nothing_until_a_person_turns_them_on', async () => {
      const ada = await watched('ada', 'granted');
      const bob = await (await visit()).enter('bob', 'news');
      await ada.goTo('elsewhere');
      await bob.say('ada?');
      await ada.page.locator('#room-list .badge').getByText('1').waitFor();
      assert.deepEqual([await ada.page.evaluate(() => window.asked), await told(ada)], [0, []]);
      assert.equal(await toggleOf(ada).getAttribute('aria-pressed'), 'false');
      await turnOn(ada);
      assert.equal(await ada.page.evaluate(() => window.asked), 1);
      await ada.page.keyboard.press('Enter');
      await ada.page.locator('#notify[aria-pressed=false]').waitFor();
      assert.equal(await ada.page.evaluate(() => window.asked), 1);
    });

    test('tell_of_ones_name_in_rooms_one_does_not_look_at_and_of_nothing_else', async () => {
      const ada = await watched('ada', 'granted');
      const bob = await (await visit()).enter('bob', 'news');
      await bob.say('ada, before');
      await ada.sees('ada, before');
      await turnOn(ada);
      await bob.say('ada, in view');
      await ada.sees('ada, in view');
      await ada.goTo('elsewhere');
      await bob.say('Canada');
      await bob.say('are you there, Ada?');
      await ada.page.waitForFunction(() => window.told.length > 0);
      assert.deepEqual(await told(ada), [{ title: 'bob in #news', body: 'are you there, Ada?', tag: 'roomlog news' }]);
      // What a person clicks on opens the room; the notification goes.
      await ada.page.evaluate(() => window.told[0].onclick());
      await room(ada, 'news');
      assert.equal(await ada.page.evaluate(() => window.told[0].isClosed), true);
      // The same room on a page that is not looked at.
      await ada.page.evaluate(() => {
        Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => 'hidden' });
        document.dispatchEvent(new Event('visibilitychange'));
      });
      await ada.say('me, ada');
      await ada.sees('me, ada');
      await bob.say('ADA!');
      await ada.page.waitForFunction(() => window.told.length > 1);
      assert.deepEqual((await told(ada)).slice(1).map(({ body }) => body), ['ADA!']);
      await ada.page.evaluate(() => {
        delete document.visibilityState;
        document.dispatchEvent(new Event('visibilitychange'));
      });
      await ada.page.waitForFunction(() => window.told[1].isClosed, null, { polling: 'raf' });
    });

    test('stay_on_across_a_reload_and_tell_nothing_of_what_is_replayed', async () => {
      const ada = await watched('ada', 'granted');
      await turnOn(ada);
      await ada.goTo('elsewhere');
      const bob = await (await visit()).enter('bob', 'news');
      await ada.context.setOffline(true);
      await server.stop('SIGTERM');
      await ada.page.locator('#banner').waitFor();
      await server.start();
      await bob.page.evaluate(() => document.querySelector('#retry').click());
      await bob.connected();
      await bob.say('ada, while away');
      await bob.sees('ada, while away');
      await ada.context.setOffline(false);
      await ada.page.locator('#room-list .badge').getByText('1').waitFor();
      assert.deepEqual(await told(ada), []);
      await ada.page.evaluate(() => Notification.requestPermission()); // the stub forgets, a browser does not
      await ada.page.reload();
      await ada.connected();
      await ada.page.evaluate(() => Notification.requestPermission());
      await bob.say('ada, now');
      await ada.page.waitForFunction(() => window.told.length === 1);
      assert.equal((await told(ada))[0].body, 'ada, now');
    });

    test('say_why_they_are_off_when_the_browser_refuses', async () => {
      const ada = await watched('ada', 'denied');
      await toggleOf(ada).click();
      await ada.page.getByRole('alert').getByText('blocks notifications').waitFor();
      assert.equal(await toggleOf(ada).getAttribute('aria-pressed'), 'false');
    });

    test('have_no_toggle_where_there_are_none', async () => {
      const ada = await visit();
      await ada.page.addInitScript(() => delete window.Notification);
      await ada.page.reload();
      await ada.enter('ada', 'news');
      assert.equal(await toggleOf(ada).isVisible(), false);
    });
  });

  describe('tab', () => {
    test('goes_through_the_names_that_match_and_back', async () => {
      const ada = await (await visit()).enter('ada', 'names');
      for (const name of ['bob', 'Bea']) await (await visit()).enter(name, 'names');
      for (const name of ['bob', 'Bea']) await ada.page.locator('#people-list').getByText(name).waitFor();
      const box = textOf(ada);
      const after = async (key) => {
        await ada.page.keyboard.press(key);
        return box.inputValue();
      };
      await box.pressSequentially('b');
      assert.equal(await after('Tab'), 'Bea: ');
      assert.equal(await after('Tab'), 'bob: ');
      assert.equal(await after('Tab'), 'Bea: ');
      assert.equal(await after('Shift+Tab'), 'bob: ');
      await box.pressSequentially('ask @be');
      assert.equal(await after('Tab'), 'bob: ask @Bea ');
      await box.pressSequentially('or bo');
      assert.equal(await after('Tab'), 'bob: ask @Bea or bob ');
      await box.press('Shift+Enter');
      await box.pressSequentially('@b');
      assert.equal(await after('Tab'), 'bob: ask @Bea or bob \n@Bea ');
    });

    test('moves_on_when_no_name_matches_or_a_round_is_ended', async () => {
      const ada = await (await visit()).enter('ada', 'names');
      for (const name of ['bob', 'bea']) await (await visit()).enter(name, 'names');
      for (const name of ['bob', 'bea']) await ada.page.locator('#people-list').getByText(name).waitFor();
      const box = textOf(ada);
      const leaves = async (key) => {
        await ada.page.keyboard.press(key);
        const id = await ada.page.evaluate(() => document.activeElement.id);
        await box.focus();
        return id !== 'text';
      };
      assert.ok(await leaves('Tab'), 'an empty text');
      await box.pressSequentially('ad');
      assert.ok(await leaves('Tab'), 'one’s own name is no completion');
      await box.fill('');
      await box.pressSequentially('b');
      assert.ok(await leaves('Shift+Tab'), 'nothing to go back from');
      await box.press('End');
      assert.ok(!(await leaves('Tab')), 'a completion');
      await box.press('Escape');
      assert.ok(await leaves('Tab'), 'ended');
      await box.fill('');
      await box.pressSequentially('bo');
      assert.ok(!(await leaves('Tab')), 'a completion');
      assert.ok(await leaves('Tab'), 'there is no other');
    });
  });

  test('mentions_can_be_read_in_light_and_dark', async () => {
    for (const colorScheme of ['light', 'dark']) {
      const ada = await (await visit({ colorScheme })).enter(`ada-${colorScheme}`, 'marks');
      await ada.say(`I am ada-${colorScheme}`);
      const bob = await (await visit()).enter(`bob-${colorScheme}`, 'marks');
      await bob.say(`hello **@ada-${colorScheme}**`);
      const mark = ada.page.locator('.mention');
      await mark.waitFor();
      assert.equal(await mark.textContent(), `@ada-${colorScheme}`);
      const ratio = await mark.evaluate((element) => {
        const { color, backgroundColor } = getComputedStyle(element);
        const light = (css) => {
          const channels = css.match(/\d+/g).slice(0, 3).map((channel) => channel / 255);
          const [r, g, b] = channels.map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
          return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
        };
        return Math.max(light(color) / light(backgroundColor), light(backgroundColor) / light(color));
      });
      assert.ok(ratio >= 4.5, `${colorScheme}: ${ratio}`);
    }
  });
});
