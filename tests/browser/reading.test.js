// What a reader is told: aloud, by headings and days, by the line before what is new, by the counts.

import assert from 'node:assert/strict';
import { lines, onStage } from './harness.js';

const at = (time) => Date.parse(time);
const MINUTE = 60_000;

const logs = {
  aloud: lines(180),
  groups: [
    ['ann', 0], ['ann', 4.9], ['ann', 9.8], // a group goes on as long as no silence in it is longer than five minutes
    ['ann', 14.9], ['ben', 15], ['ann', 15.1], ['ann', 15.2],
  ].map(([user, minutes]) => ({ user, content: `at ${minutes}`, timestamp: at('2026-11-10T12:00:00Z') + minutes * MINUTE })),
  days: [
    '2026-11-18T04:30:00Z', // New York: Tuesday 23:30 and Tokyo: Wednesday 13:30
    '2026-11-18T05:30:00Z', // Wednesday 00:30, still Wednesday
    '2026-11-18T14:59:00Z', // Wednesday, Wednesday 23:59
    '2026-11-18T15:01:00Z', // Wednesday, Thursday 00:01
    '2026-11-20T12:00:00Z', // Friday in both
    '2026-11-21T12:00:00Z', // Saturday in both
  ].map((time) => ({ user: 'ann', content: time, timestamp: at(time) })),
};

/** The rows as a reader sees them: days, messages with a heading ("ann: …") and without. */
const rows = ({ page }) =>
  page.locator('#rows > li').evaluateAll((items) =>
    items
      .filter((row) => row.matches('.day, .marker, .message'))
      .map((row) => {
        if (!row.matches('.message')) return row.textContent;
        const body = row.querySelector('.body').textContent;
        return row.matches('.head') ? `${row.querySelector('.name').textContent}: ${body}` : body;
      }),
  );

onStage('reading', { logs }, (stage) => {
  stage.test('what_is_said_is_announced_and_what_is_read_again_is_not', async () => {
    const ada = await stage.visit();
    // What each new row meets: whether the log speaks when the row comes, and still when a screen reader gets to it.
    await ada.page.evaluate(() => {
      const log = document.querySelector('#log');
      window.spoken = [];
      window.silent = [];
      new MutationObserver((changes) => {
        const added = changes.flatMap(({ addedNodes }) => [...addedNodes]).filter((node) => node.matches?.('.message'));
        const texts = added.map((row) => row.querySelector('.body').textContent);
        const atOnce = log.ariaLive;
        setTimeout(() => {
          const list = atOnce === 'polite' || log.ariaLive === 'polite' ? window.spoken : window.silent;
          list.push(...texts);
        }, 200);
      }).observe(log, { childList: true, subtree: true });
    });
    const log = ada.page.locator('#log');
    assert.deepEqual([await log.getAttribute('role'), await log.getAttribute('aria-live')], ['log', 'polite']);
    await ada.enter('ada-aloud', 'aloud');
    await ada.page.waitForFunction(() => window.silent.includes('line 180'));
    const robots = await (await stage.robots()).join('bob-aloud', 'aloud');
    await ada.page.waitForFunction(() => document.querySelector('#log').ariaLive === 'polite');
    await robots.say('bob-aloud', 'aloud', 'a word');
    await ada.page.waitForFunction(() => window.spoken.includes('a word'));
    // Scrolling up, and reading down again what the window let go of.
    for (const sequence of [81, 31, 1]) {
      await ada.scrollTo(0);
      await ada.page.locator(`[data-sequence="${sequence}"]`).waitFor({ state: 'attached' });
      await ada.page.waitForFunction((text) => window.silent.includes(text), `line ${sequence}`);
    }
    await ada.goTo('elsewhere');
    await ada.goTo('aloud');
    await ada.sees('a word');
    await ada.page.waitForFunction(() => window.silent.includes('a word'));
    await ada.page.waitForFunction(() => document.querySelector('#log').ariaLive === 'polite');
    await robots.say('bob-aloud', 'aloud', 'another');
    await ada.page.waitForFunction(() => window.spoken.includes('another'));
    assert.deepEqual(await ada.page.evaluate(() => window.spoken), ['a word', 'another']);
  });

  stage.test('messages_of_one_sender_within_five_minutes_share_a_heading', async () => {
    const ada = await (await stage.visit({ timezoneId: 'UTC' })).enter('ada-groups', 'groups');
    await ada.sees('at 15.2');
    const shown = (await rows(ada)).slice(1);
    assert.deepEqual(shown, ['ann: at 0', 'at 4.9', 'at 9.8', 'ann: at 14.9', 'ben: at 15', 'ann: at 15.1', 'at 15.2']);
    // Without a heading there is still a name and a time for who cannot see whose it is.
    const again = ada.page.locator('.message:not(.head)').first();
    assert.match(await again.textContent(), /^ann.*04:54|^ann12:04/);
  });

  stage.test('days_are_those_of_the_reader', async () => {
    const expected = {
      'America/New_York': ['Tuesday, November 17', 'Wednesday, November 18', 'Yesterday', 'Today'],
      'Asia/Tokyo': ['Wednesday, November 18', 'Thursday, November 19', 'Yesterday', 'Today'],
    };
    for (const [timezoneId, days] of Object.entries(expected)) {
      const ada = await stage.visit({ timezoneId, locale: 'en-US' }, (page) => page.clock.setFixedTime(at('2026-11-21T13:00:00Z')));
      await ada.enter(`ada in ${timezoneId.slice(-5)}`, 'days');
      await ada.sees('2026-11-21T12:00:00Z');
      assert.deepEqual(await ada.page.locator('.day').allTextContents(), days, timezoneId);
      const first = ada.page.locator('.message time').first();
      assert.equal(await first.textContent(), timezoneId === 'Asia/Tokyo' ? '01:30 PM' : '11:30 PM');
      assert.equal(await first.getAttribute('datetime'), '2026-11-18T04:30:00.000Z');
    }
  });

  stage.test('older_messages_of_a_day_do_not_bring_its_heading_twice', async () => {
    const ada = await (await stage.visit()).enter('ada-day', 'aloud');
    await ada.sees('line 180');
    for (let turn = 0; turn < 60 && (await ada.count('.line.start')) === 0; turn += 1) {
      await ada.scrollTo(0);
      await ada.drawn();
    }
    const days = await ada.page.locator('.day').allTextContents();
    assert.deepEqual([...new Set(days)], days);
    assert.ok(days.length === 1 || days.length === 2, days.join());
  });

  stage.test('line_of_new_messages_stands_once_before_the_first_unread', async () => {
    const ada = await (await stage.visit()).enter('ada-line', 'line');
    const robots = await (await stage.robots()).join('bob', 'line');
    await robots.say('bob', 'line', 'read');
    await ada.sees('read');
    assert.equal(await ada.count('.marker'), 0);
    await ada.goTo('elsewhere');
    await robots.say('bob', 'line', 'new 1', 'new 2');
    await ada.page.locator('#room-list .badge').getByText('2').waitFor();
    await ada.page.locator('#room-list').getByText('line', { exact: true }).click();
    await ada.page.locator('.marker').waitFor();
    assert.deepEqual((await rows(ada)).slice(1), ['bob: read', 'New messages', 'bob: new 1', 'new 2']);
    // It stays while one reads, and what comes meanwhile does not move or repeat it.
    await robots.say('bob', 'line', 'new 3');
    await ada.sees('new 3');
    assert.deepEqual((await rows(ada)).slice(1), ['bob: read', 'New messages', 'bob: new 1', 'new 2', 'new 3']);
    // Who answers has read.
    await ada.say('answer');
    await ada.page.locator('.marker').waitFor({ state: 'detached' });
    await ada.goTo('elsewhere');
    await robots.say('bob', 'line', 'new 4');
    await ada.page.locator('#room-list .badge').getByText('1').waitFor();
    await ada.page.locator('#room-list').getByText('line', { exact: true }).click();
    await ada.sees('new 4');
    assert.deepEqual((await rows(ada)).slice(-3), ['ada-line: answer', 'New messages', 'bob: new 4']);
  });

  stage.test('many_unread_messages_are_read_from_the_first', async () => {
    const ada = await (await stage.visit()).enter('ada-many', 'many');
    const robots = await (await stage.robots()).join('bob-many', 'many');
    await robots.say('bob-many', 'many', 'read');
    await ada.sees('read');
    await ada.goTo('elsewhere');
    await robots.say('bob-many', 'many', ...lines(120).map(({ content }) => content));
    await ada.page.locator('#room-list .badge').getByText('99+').waitFor();
    assert.match(await ada.page.title(), /^\(120\) /);
    await ada.page.locator('#room-list').getByText('many', { exact: true }).click();
    const marker = ada.page.locator('.marker');
    await marker.waitFor();
    await ada.page.getByRole('button', { name: 'Jump to latest (120)' }).waitFor();
    const [line, log] = await Promise.all([marker.boundingBox(), ada.page.locator('#log').boundingBox()]);
    assert.ok(line.y >= log.y && line.y < log.y + 60, `the line at ${line.y}, the log from ${log.y}`);
    await ada.page.getByRole('button', { name: 'Jump to latest (120)' }).click();
    await ada.page.waitForFunction(() => !document.title.startsWith('('));
  });

  stage.test('unread_is_counted_per_room_and_in_the_title', async () => {
    const ada = await (await stage.visit()).enter('ada-count', 'count a');
    await ada.goTo('count b');
    await ada.goTo('count c');
    const robots = await (await stage.robots()).join('bob-count', 'count a');
    await robots.command('bob-count', { type: 'join', room: 'count b' }, { type: 'join', room: 'count c' });
    await robots.say('bob-count', 'count a', '1', '2');
    await robots.say('bob-count', 'count b', '1', '2', '3');
    await robots.say('bob-count', 'count c', 'seen at once');
    await ada.sees('seen at once');
    await ada.page.waitForFunction(() => document.title === '(5) #count c · Roomlog');
    const badge = (room) => ada.page.locator('#room-list li').filter({ hasText: room }).locator('.badge');
    assert.equal(await badge('count a').textContent(), '2');
    assert.equal(await badge('count b').textContent(), '3');
    assert.equal(await badge('count b').getAttribute('aria-label'), '3 unread');
    assert.equal(await badge('count c').count(), 0);
    // A page that nobody looks at has read nothing, and counts on in its title.
    await ada.turnTab('hidden');
    await robots.say('bob-count', 'count c', 'unseen');
    await ada.page.waitForFunction(() => document.title.startsWith('(6) '));
    await ada.turnTab('visible');
    await ada.page.waitForFunction(() => document.title.startsWith('(5) '));
    await ada.page.locator('#room-list').getByText('count a').click();
    await ada.page.waitForFunction(() => document.title === '(3) #count a · Roomlog');
    await badge('count a').waitFor({ state: 'detached' });
    // What was read stays read after a reload, and what was not does not.
    await ada.page.reload();
    await ada.page.waitForFunction(() => document.title === '(3) #count a · Roomlog');
  });
});
