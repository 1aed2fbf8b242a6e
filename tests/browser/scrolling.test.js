// The log under the hand: it follows at the end, stays put above it, and gives every message without growing for ever.

import assert from 'node:assert/strict';
import { lines, onStage, range } from './harness.js';

/** Where a message's text stands; a heading above it may come or go. */
const topOf = ({ page }, sequence) =>
  page.locator(`[data-sequence="${sequence}"] .body`).evaluate((row) => row.getBoundingClientRect().top);

/** How far the end of the log is below its edge. */
const below = ({ page }) => page.locator('#log').evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight);

function assertStays(before, after) {
  assert.ok(Math.abs(after - before) <= 1, `moved from ${before} to ${after}`);
}

onStage('scrolling', { logs: { short: lines(60), older: lines(230), long: lines(1_301) } }, (stage) => {
  stage.test('log_at_its_end_follows_what_is_said', async () => {
    const ada = await (await stage.visit()).enter('ada-end', 'short');
    const robots = await (await stage.robots()).join('bob', 'short');
    await ada.sees('line 60');
    for (const text of ['one', 'two\nlines', 'three '.repeat(400)]) {
      await robots.say('bob', 'short', text);
      await ada.sees(text);
      assert.ok((await below(ada)) <= 1, text.slice(0, 10));
      assert.equal(await ada.page.locator('#jump').isVisible(), false);
    }
    // It also follows when the room for it shrinks: a draft of many lines, a smaller window, the banner.
    await ada.box.fill('a\n'.repeat(8));
    await ada.drawn();
    assert.ok((await below(ada)) <= 1, 'tall draft');
    await ada.page.setViewportSize({ width: 700, height: 400 });
    await ada.drawn();
    assert.ok((await below(ada)) <= 1, 'small window');
  });

  stage.test('log_scrolled_up_stays_and_offers_the_way_to_the_end', async () => {
    const ada = await (await stage.visit()).enter('ada-up', 'short');
    const robots = await (await stage.robots()).join('carol', 'short');
    await ada.sees('line 60');
    await ada.scrollTo(700);
    await ada.page.getByRole('button', { name: 'Jump to latest', exact: true }).waitFor();
    const seen = await ada.page.locator('#log').evaluate((log) => {
      const edge = log.getBoundingClientRect().top;
      return Number([...log.querySelectorAll('.message')].find((row) => row.getBoundingClientRect().top > edge).dataset.sequence);
    });
    const stood = await topOf(ada, seen);
    await robots.say('carol', 'short', ...range(1, 12).map((number) => `news ${number}`));
    await ada.page.getByRole('button', { name: 'Jump to latest (12)', exact: true }).waitFor();
    assertStays(stood, await topOf(ada, seen));
    await ada.page.getByRole('button', { name: 'Jump to latest (12)' }).click();
    await ada.page.locator('#jump').waitFor({ state: 'hidden' });
    assert.ok((await below(ada)) <= 1);
    await robots.say('carol', 'short', 'after the jump');
    await ada.sees('after the jump');
    assert.ok((await below(ada)) <= 1);
  });

  stage.test('older_messages_come_in_without_moving_the_row_in_view_until_the_first', async () => {
    const ada = await (await stage.visit()).enter('ada-older', 'older');
    await ada.sees('line 230');
    let first = 181;
    while (first > 1) {
      assert.equal((await ada.sequences())[0], first);
      // The very first row: it loses its heading when the messages before it come in.
      const stood = await ada.page.locator('#log').evaluate((log, sequence) => {
        const row = log.querySelector(`[data-sequence="${sequence}"]`);
        log.scrollTop = row.offsetTop;
        return row.querySelector('.body').getBoundingClientRect().top;
      }, first);
      const next = Math.max(1, first - 50);
      await ada.page.locator(`[data-sequence="${next}"]`).waitFor({ state: 'attached' });
      assertStays(stood, await topOf(ada, first));
      first = next;
    }
    assert.deepEqual(await ada.sequences(), range(1, 230));
    // There is nothing before the first, and nobody is asked for it.
    const asked = ada.page.locator('.line.start');
    await ada.scrollTo(0);
    await ada.drawn();
    assert.equal(await asked.textContent(), 'This is where #older begins');
    assert.deepEqual(await ada.sequences(), range(1, 230));
  });

  stage.test('older_messages_are_asked_for_once_and_not_beyond_the_first', async () => {
    const asked = [];
    const ada = await stage.visit({}, (page) =>
      page.on('websocket', (socket) =>
        socket.on('framesent', ({ payload }) => {
          const frame = JSON.parse(payload);
          if (frame.type === 'history') asked.push(frame.before);
        }),
      ),
    );
    await ada.enter('ada-asks', 'older');
    await ada.sees('line 230');
    for (let turn = 0; turn < 60 && (await ada.count('.line.start')) === 0; turn += 1) {
      await ada.scrollTo(0);
      await ada.drawn();
    }
    for (let turn = 0; turn < 4; turn += 1) {
      await ada.scrollTo(50 * turn);
      await ada.drawn();
    }
    assert.deepEqual(asked, [181, 131, 81, 31]);
  });

  stage.test('document_stays_bounded_and_every_message_can_be_reached', async () => {
    const ada = await (await stage.visit()).enter('ada-long', 'long');
    await ada.sees('line 1301');
    // In the page, frame by frame: nothing between two looks is missed.
    const scroll = (to, until) =>
      ada.page.evaluate(
        async ([to, until]) => {
          const log = document.querySelector('#log');
          const seen = new Set();
          let most = 0;
          for (let turn = 0; turn < 600 && !seen.has(until); turn += 1) {
            const rows = [...log.querySelectorAll('.message')].map((row) => Number(row.dataset.sequence));
            const isAscending = rows.every((sequence, index) => index === 0 || sequence > rows[index - 1]);
            if (!isAscending) throw new Error(`not ascending: ${rows}`);
            most = Math.max(most, log.querySelectorAll('li').length);
            rows.forEach((sequence) => seen.add(sequence));
            log.scrollTop = to;
            await new Promise((resolve) => requestAnimationFrame(resolve));
          }
          return { seen: [...seen].sort((a, b) => a - b), most };
        },
        [to, until],
      );
    const up = await scroll(0, 1);
    assert.deepEqual(up.seen, range(1, 1_301));
    assert.ok(up.most <= 520, `${up.most} rows`);
    const down = await scroll(1e9, 1_301);
    assert.deepEqual([down.seen[0], down.seen.at(-1)], [1, 1_301]);
    assert.ok(down.most <= 520, `${down.most} rows`);
    await ada.page.locator('#jump').waitFor({ state: 'hidden' });
  });

  stage.test('window_over_a_long_log_slides_without_moving_the_row_in_view', async () => {
    const ada = await (await stage.visit()).enter('ada-slides', 'long');
    await ada.sees('line 1301');
    const moved = await ada.page.evaluate(async () => {
      const log = document.querySelector('#log');
      const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
      const inView = () => {
        const edge = log.getBoundingClientRect().top;
        return [...log.querySelectorAll('.message')].find((row) => row.getBoundingClientRect().bottom > edge);
      };
      const worst = { up: 0, down: 0 };
      for (const [way, step] of [['up', -300], ['down', 300]]) {
        for (let turn = 0; turn < 50; turn += 1) {
          log.scrollTop += step;
          const { sequence } = inView().dataset;
          const top = () => log.querySelector(`[data-sequence="${sequence}"] .body`)?.getBoundingClientRect().top ?? Infinity;
          const stood = top();
          await frame();
          await frame();
          worst[way] = Math.max(worst[way], Math.abs(top() - stood));
        }
      }
      return worst;
    });
    assert.ok(moved.up <= 1 && moved.down <= 1, JSON.stringify(moved));
  });

  stage.test('room_that_is_turned_to_again_shows_its_end', async () => {
    const ada = await (await stage.visit()).enter('ada-again', 'short');
    await ada.sees('line 60');
    await ada.scrollTo(300);
    await ada.page.locator('#jump').waitFor();
    await ada.goTo('older');
    await ada.sees('line 230');
    await ada.page.locator('#room-list').getByText('short', { exact: true }).click();
    await ada.sees('line 60');
    await ada.page.locator('#jump').waitFor({ state: 'hidden' });
    assert.ok((await below(ada)) <= 1);
  });
});
