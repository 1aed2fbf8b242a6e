// Getting about without a mouse: the room switcher, notifications, completion. The order of rooms in Node, the rest in a
// real Chromium against the real server.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { importPage, onStage } from './harness.js';

const { choices, Room } = await importPage();

describe('rooms to choose from', () => {
  const roomOf = (name, fields) => [name, new Room(name, fields)];
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

// Each test has names of its own: one stays taken for a while after its page was closed.
onStage('keyboard and notifications', {}, (stage) => {
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
    stage.test('opens_over_a_text_field_and_gives_the_focus_back', async () => {
      const ada = await (await stage.visit()).enter('ada', 'home');
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

    stage.test('stays_closed_while_the_door_is_open', async () => {
      const guest = await stage.visit();
      await guest.page.getByLabel('Your name').press('Control+k');
      assert.equal(await guest.page.evaluate(() => document.activeElement.id), 'welcome-name');
      assert.equal(await inputOf(guest).isVisible(), false);
    });

    stage.test('is_a_combobox_whose_arrows_choose_and_whose_enter_opens', async () => {
      const cleo = await (await stage.visit()).enter('cleo', 'one');
      for (const name of ['two', 'three']) await cleo.goTo(name);
      await cleo.page.keyboard.press('Control+k');
      await cleo.page.getByText('you are here').waitFor();
      assert.equal(await chosen(cleo), 'two');
      await cleo.page.keyboard.press('ArrowDown');
      assert.equal(await chosen(cleo), 'one');
      await cleo.page.keyboard.press('ArrowUp');
      await cleo.page.keyboard.press('ArrowUp');
      const last = await optionsOf(cleo).last().evaluate((option) => option.dataset.room);
      assert.equal(await chosen(cleo), last, 'from the first up is the last');
      await cleo.page.keyboard.type('ne');
      assert.equal(await chosen(cleo), 'one');
      await cleo.page.keyboard.press('Home');
      await cleo.page.keyboard.type('o');
      assert.equal(await inputOf(cleo).inputValue(), 'one', 'Home is a key of the text');
      await cleo.page.keyboard.press('Enter');
      await room(cleo, 'one');
      assert.equal(await cleo.page.evaluate(() => document.activeElement.id), 'text');
    });

    stage.test('finds_the_servers_rooms_and_joins_what_is_typed', async () => {
      const gus = await (await stage.visit()).enter('gus', 'gardening');
      await gus.say('something said');
      await gus.sees('something said');
      const finn = await (await stage.visit()).enter('finn', 'home');
      await finn.page.keyboard.press('Control+k');
      await finn.page.getByRole('option', { name: '#gardening 1 member' }).waitFor();
      await finn.page.keyboard.type('#garden');
      assert.deepEqual(await optionsOf(finn).evaluateAll((all) => all.map((option) => option.firstChild.textContent)), ['#gardening', 'Join #garden']);
      await finn.page.keyboard.press('Enter');
      await finn.sees('something said');
      await finn.page.keyboard.press('Control+k');
      await finn.page.keyboard.type('garden');
      await finn.page.keyboard.press('ArrowUp');
      await finn.page.keyboard.press('Enter');
      await room(finn, 'garden');
    });

    stage.test('keeps_what_is_chosen_when_the_servers_rooms_come_late', async () => {
      const lara = await stage.visit();
      let answer;
      const asked = new Promise((resolve) => {
        lara.page.route('**/api/rooms', (route) => {
          answer = (rooms) => route.fulfill({ json: rooms });
          resolve();
        });
      });
      await lara.enter('lara', 'home');
      await lara.page.keyboard.press('Control+k');
      await lara.page.keyboard.type('late');
      await asked;
      await answer([{ room: 'lately', members: 3 }]);
      await lara.page.getByRole('option', { name: '#lately 3 members' }).waitFor();
      assert.equal(await chosen(lara), 'late');
      await lara.page.keyboard.press('Enter');
      await room(lara, 'late');
    });

    stage.test('works_without_the_servers_list_and_shows_unread_counts_as_they_come', async () => {
      const uma = await stage.visit();
      await uma.page.route('**/api/rooms', (route) => route.fulfill({ status: 401, contentType: 'text/html', body: '<p>no' }));
      await uma.enter('uma', 'quiet');
      await uma.goTo('home');
      const vic = await (await stage.visit()).enter('vic', 'quiet');
      await uma.page.keyboard.press('Control+k');
      await vic.say('psst');
      await uma.page.getByRole('option', { name: '#quiet 1 unread' }).click();
      await uma.sees('psst');
      // The browser itself complains of the 401, and nothing else does.
      assert.ok(uma.complaints.splice(0).every((complaint) => /status of 401/.test(complaint)));
    });

    stage.test('is_a_sheet_on_a_phone_with_targets_for_thumbs', async () => {
      const phone = { viewport: { width: 375, height: 700 }, hasTouch: true, isMobile: true };
      const phia = await (await stage.visit(phone)).enter('phia', 'a-room-with-quite-a-long-name-that-has-to-be-cut-somewhere');
      await phia.page.getByRole('button', { name: 'Rooms' }).tap();
      const find = phia.page.getByRole('button', { name: 'Find or join a room' });
      assert.equal(await find.locator('kbd').isVisible(), false);
      await find.tap();
      await optionsOf(phia).first().waitFor();
      const boxes = await phia.page.locator('#switcher, #switcher :is(input, button, li)').evaluateAll((all) => all.map((each) => each.getBoundingClientRect().toJSON()));
      assert.deepEqual([boxes[0].left, boxes[0].top, boxes[0].width], [0, 0, 375]);
      assert.deepEqual(boxes.filter(({ width, height, right }) => width < 44 || height < 44 || right > 375), []);
      // Escape, or what a phone has in its place, closes the sheet alone: the drawer that it came from is still there.
      await phia.page.keyboard.press('Escape');
      await inputOf(phia).waitFor({ state: 'hidden' });
      assert.equal(await phia.page.evaluate(() => document.activeElement.id), 'find');
      await find.tap();
      await inputOf(phia).fill('elsewhere');
      await phia.page.getByRole('option', { name: 'Join #elsewhere' }).tap();
      await room(phia, 'elsewhere');
      await phia.page.locator('#backdrop').waitFor({ state: 'hidden' });
    });

    stage.test('remembers_the_order_of_visits', async () => {
      const rhea = await (await stage.visit()).enter('rhea', 'one');
      for (const name of ['two', 'three', 'one']) await rhea.goTo(name);
      await rhea.page.reload();
      await rhea.connected();
      await rhea.page.keyboard.press('Control+k');
      await rhea.page.getByText('you are here').waitFor();
      const names = await optionsOf(rhea).evaluateAll((all) => all.map((option) => option.dataset.room));
      assert.deepEqual(names.slice(0, 3), ['three', 'two', 'one']);
    });
  });

  describe('notifications', () => {
    /** A browser whose notifications are recorded; `answer` is what a person answers when asked for the permission. */
    async function watched(name, answer, options) {
      const person = await stage.visit(options);
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

    stage.test('ask_for_nothing_until_a_person_turns_them_on', async () => {
      const anna = await watched('anna', 'granted');
      const ben = await (await stage.visit()).enter('ben', 'news');
      await anna.goTo('elsewhere');
      await ben.say('anna?');
      await anna.page.locator('#room-list .badge').getByText('1').waitFor();
      assert.deepEqual([await anna.page.evaluate(() => window.asked), await told(anna)], [0, []]);
      assert.equal(await toggleOf(anna).getAttribute('aria-pressed'), 'false');
      await turnOn(anna);
      assert.equal(await anna.page.evaluate(() => window.asked), 1);
      await anna.page.keyboard.press('Enter');
      await anna.page.locator('#notify[aria-pressed=false]').waitFor();
      assert.equal(await anna.page.evaluate(() => window.asked), 1);
    });

    stage.test('tell_of_ones_name_in_rooms_one_does_not_look_at_and_of_nothing_else', async () => {
      const tess = await watched('tess', 'granted');
      const dan = await (await stage.visit()).enter('dan', 'news');
      await dan.say('tess, before');
      await tess.sees('tess, before');
      await turnOn(tess);
      await dan.say('tess, in view');
      await tess.sees('tess, in view');
      await tess.goTo('elsewhere');
      await dan.say('Contessa');
      await dan.say('are you there, Tess?');
      await tess.page.waitForFunction(() => window.told.length > 0);
      assert.deepEqual(await told(tess), [{ title: 'dan in #news', body: 'are you there, Tess?', tag: 'roomlog news' }]);
      // What a person clicks on opens the room; the notification goes.
      await tess.page.evaluate(() => window.told[0].onclick());
      await room(tess, 'news');
      assert.equal(await tess.page.evaluate(() => window.told[0].isClosed), true);
      // The same room on a page that is not looked at.
      await tess.page.evaluate(() => {
        Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => 'hidden' });
        document.dispatchEvent(new Event('visibilitychange'));
      });
      await tess.say('me, tess');
      await tess.sees('me, tess');
      await dan.say('TESS!');
      await tess.page.waitForFunction(() => window.told.length > 1);
      assert.deepEqual((await told(tess)).slice(1).map(({ body }) => body), ['TESS!']);
      await tess.page.evaluate(() => {
        delete document.visibilityState;
        document.dispatchEvent(new Event('visibilitychange'));
      });
      await tess.page.waitForFunction(() => window.told[1].isClosed, null, { polling: 'raf' });
    });

    stage.test('tell_of_every_private_message_and_lead_to_it', async () => {
      const pia = await watched('pia', 'granted');
      await turnOn(pia);
      const olaf = await (await stage.visit()).enter('olaf', 'news');
      await olaf.page.locator('#people-list').getByRole('button', { name: 'pia' }).click();
      await olaf.say('just between us');
      await pia.page.waitForFunction(() => window.told.length > 0);
      assert.deepEqual((await told(pia)).map(({ title, body }) => [title, body]), [['olaf', 'just between us']]);
      await pia.page.evaluate(() => window.told[0].onclick());
      await pia.page.getByRole('heading', { name: 'olaf', exact: true }).waitFor();
      await pia.page.keyboard.press('Control+k');
      await pia.page.keyboard.type('@ol');
      assert.deepEqual(await optionsOf(pia).evaluateAll((all) => all.map((option) => option.firstChild.textContent)), ['@olaf']);
    });

    stage.test('stay_on_across_a_reload_and_tell_nothing_of_what_is_replayed', async () => {
      const stella = await watched('stella', 'granted');
      await turnOn(stella);
      await stella.goTo('elsewhere');
      const sam = await (await stage.visit()).enter('sam', 'news');
      await stella.context.setOffline(true);
      await stage.server.stop('SIGTERM');
      await stella.page.locator('#banner').waitFor();
      await stage.server.start();
      await sam.page.evaluate(() => document.querySelector('#retry').click());
      await sam.connected();
      await sam.say('stella, while away');
      await sam.sees('stella, while away');
      await stella.context.setOffline(false);
      await stella.page.locator('#room-list .badge').getByText('1').waitFor();
      assert.deepEqual(await told(stella), []);
      await stella.page.evaluate(() => Notification.requestPermission()); // the stub forgets, a browser does not
      await stella.page.reload();
      await stella.connected();
      await stella.page.evaluate(() => Notification.requestPermission());
      await sam.say('stella, now');
      await stella.page.waitForFunction(() => window.told.length === 1);
      assert.equal((await told(stella))[0].body, 'stella, now');
    });

    stage.test('say_why_they_are_off_when_the_browser_refuses', async () => {
      const wanda = await watched('wanda', 'denied');
      await toggleOf(wanda).click();
      await wanda.page.getByRole('alert').getByText('blocks notifications').waitFor();
      assert.equal(await toggleOf(wanda).getAttribute('aria-pressed'), 'false');
    });

    stage.test('have_no_toggle_where_there_are_none', async () => {
      const hana = await stage.visit();
      await hana.page.addInitScript(() => delete window.Notification);
      await hana.page.reload();
      await hana.enter('hana', 'news');
      assert.equal(await toggleOf(hana).isVisible(), false);
    });
  });

  describe('tab', () => {
    stage.test('goes_through_the_names_that_match_and_back', async () => {
      const nora = await (await stage.visit()).enter('nora', 'names');
      for (const name of ['bob', 'Bix', 'Bea']) await (await stage.visit()).enter(name, 'names');
      for (const name of ['bob', 'Bix', 'Bea']) await nora.page.locator('#people-list').getByText(name).waitFor();
      const box = textOf(nora);
      const after = async (key) => {
        await nora.page.keyboard.press(key);
        return box.inputValue();
      };
      await box.pressSequentially('b');
      assert.equal(await after('Tab'), 'Bea: ');
      assert.equal(await after('Tab'), 'Bix: ');
      assert.equal(await after('Shift+Tab'), 'Bea: ');
      assert.equal(await after('Shift+Tab'), 'bob: ', 'round and round');
      await box.pressSequentially('ask @be');
      assert.equal(await after('Tab'), 'bob: ask @Bea ');
      await box.pressSequentially('or bo');
      assert.equal(await after('Tab'), 'bob: ask @Bea or bob ');
      await box.press('Shift+Enter');
      await box.pressSequentially('@b');
      assert.equal(await after('Tab'), 'bob: ask @Bea or bob \n@Bea ');
    });

    stage.test('moves_on_when_no_name_matches_or_a_round_is_ended', async () => {
      const ida = await (await stage.visit()).enter('ida', 'more-names');
      for (const name of ['kai', 'kurt']) await (await stage.visit()).enter(name, 'more-names');
      for (const name of ['kai', 'kurt']) await ida.page.locator('#people-list').getByText(name).waitFor();
      const box = textOf(ida);
      const leaves = async (key) => {
        await ida.page.keyboard.press(key);
        const id = await ida.page.evaluate(() => document.activeElement.id);
        await box.focus();
        return id !== 'text';
      };
      assert.ok(await leaves('Tab'), 'an empty text');
      await box.pressSequentially('id');
      assert.ok(await leaves('Tab'), 'one’s own name is no completion');
      await box.fill('');
      await box.pressSequentially('k');
      assert.ok(await leaves('Shift+Tab'), 'nothing to go back from');
      await box.press('End');
      assert.ok(!(await leaves('Tab')), 'a completion');
      await box.press('Escape');
      assert.ok(await leaves('Tab'), 'ended');
      await box.fill('');
      await box.pressSequentially('ka');
      assert.ok(!(await leaves('Tab')), 'a completion');
      assert.ok(await leaves('Tab'), 'there is no other');
    });
  });

  stage.test('mentions_can_be_read_in_light_and_dark', async () => {
    for (const colorScheme of ['light', 'dark']) {
      const ada = await (await stage.visit({ colorScheme })).enter(`ada-${colorScheme}`, 'marks');
      await ada.say(`I am ada-${colorScheme}`);
      const bob = await (await stage.visit()).enter(`bob-${colorScheme}`, 'marks');
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
