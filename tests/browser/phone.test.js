// Small screens and large ones: drawers or panes, nothing that scrolls sideways, controls that a finger hits.

import assert from 'node:assert/strict';
import { before } from 'node:test';
import { onStage, Robots } from './harness.js';
import { BUSY, busyLog, populate, prepare, settle, VIEWS } from './views.js';

const PHONE = { viewport: { width: 375, height: 700 }, hasTouch: true, isMobile: true };

/** What sticks out sideways: the page, a pane, the log. Code blocks scroll in themselves. */
const sideways = ({ page }) =>
  page.evaluate(() => {
    const boxes = [document.documentElement, document.body, ...document.querySelectorAll('#log, .pane, .list, main, .box, .welcome, .banner')];
    const wide = boxes.filter((box) => box.checkVisibility() && box.scrollWidth > box.clientWidth + (box.matches('.box') ? 1 : 0));
    return wide.map((box) => `${box.id || box.className || box.tagName} ${box.scrollWidth}>${box.clientWidth}`);
  });

/** Visible text and controls cut off by, or beyond, the edge of the screen. */
const beyond = ({ page }) =>
  page.evaluate(() =>
    [...document.querySelectorAll('button, input, textarea, .label, .name, .body, h1')]
      .filter((element) => element.checkVisibility({ visibilityProperty: true }) && !element.closest('[inert]'))
      .filter((element) => {
        const box = element.getBoundingClientRect();
        return box.width > 1 && (box.left < 0 || box.right > innerWidth + 0.5);
      })
      .map((element) => element.id || element.className),
  );

/** Controls smaller than a fingertip; links in a text are as high as the text. */
const small = ({ page }) =>
  page.evaluate(() =>
    [...document.querySelectorAll('button, input, textarea, select, summary, [role="button"]')]
      .filter((element) => element.checkVisibility({ visibilityProperty: true }) && !element.closest('[inert]'))
      .map((element) => [element, element.getBoundingClientRect()])
      .filter(([, { width, height }]) => width < 44 || height < 44)
      .map(([element, { width, height }]) => `${element.id || element.className} ${width}×${height}`),
  );

onStage('phone', { logs: { [BUSY]: busyLog } }, (stage) => {
  let robots;

  before(async () => {
    robots = await Robots.open(stage.browser, stage.server);
    await populate(robots);
  });

  for (const [size, options] of Object.entries({ phone: PHONE, 'narrow window': { viewport: PHONE.viewport } })) {
    stage.test(`every_view_fits_a_${size.replace(' ', '_')}_and_a_fingertip`, async () => {
      const ada = await stage.visit(options, prepare);
      assert.deepEqual([await sideways(ada), await beyond(ada), await small(ada)], [[], [], []], 'door');
      await settle(ada, robots, `ada on a ${size}`);
      for (const { name, open, close } of VIEWS) {
        await open(ada);
        assert.deepEqual([await sideways(ada), await beyond(ada), await small(ada)], [[], [], []], name);
        await close(ada);
      }
    });
  }

  stage.test('every_view_reflows_at_320_pixels', async () => {
    const ada = await stage.visit({ viewport: { width: 320, height: 256 } }, prepare); // 1280 × 1024 at 400 %
    assert.deepEqual([await sideways(ada), await beyond(ada)], [[], []], 'door');
    await settle(ada, robots, 'ada at 320');
    for (const { name, open, close } of VIEWS) {
      await open(ada);
      assert.deepEqual([await sideways(ada), await beyond(ada)], [[], []], name);
      await close(ada);
    }
    // There is room left to read in.
    const log = await ada.page.locator('#log').boundingBox();
    assert.ok(log.height >= 80, `${log.height}`);
  });

  stage.test('text_at_twice_its_size_stays_on_the_page', async () => {
    const ada = await stage.visit({ viewport: { width: 640, height: 512 }, deviceScaleFactor: 2 }, prepare); // 1280 × 1024 at 200 %
    await settle(ada, robots, 'ada at 200 %');
    for (const { name, open, close } of VIEWS) {
      await open(ada);
      assert.deepEqual([await sideways(ada), await beyond(ada)], [[], []], name);
      await close(ada);
    }
  });

  stage.test('narrow_screen_has_drawers_and_gives_the_focus_back', async () => {
    const ada = await (await stage.visit(PHONE)).enter('ada-drawers', 'drawers');
    const focused = () => ada.page.evaluate(() => document.activeElement.id);
    for (const [button, pane, closer] of [['Rooms', '#rooms', 'Close rooms'], ['Members', '#people', 'Close members']]) {
      const opener = ada.page.getByRole('button', { name: button, exact: true });
      assert.equal(await ada.page.locator(pane).isVisible(), false);
      assert.equal(await opener.getAttribute('aria-expanded'), 'false');
      const ways = {
        button: () => ada.page.getByRole('button', { name: closer }).tap(),
        escape: () => ada.page.keyboard.press('Escape'),
        outside: () => ada.page.touchscreen.tap(pane === '#rooms' ? 370 : 5, 600),
      };
      for (const [way, close] of Object.entries(ways)) {
        await opener.tap();
        await ada.page.locator(pane).waitFor();
        await ada.page.waitForFunction((id) => {
          const box = document.querySelector(id).getBoundingClientRect();
          return box.left >= 0 && box.right <= innerWidth;
        }, pane);
        assert.equal(await ada.page.locator(pane).evaluate((element) => element.contains(document.activeElement)), true, way);
        assert.equal(await ada.page.locator('#main').evaluate((main) => main.inert), true, 'what is behind is out of reach');
        await close();
        await ada.page.locator(pane).waitFor({ state: 'hidden' });
        assert.equal(await focused(), `open-${pane.slice(1)}`, way);
      }
    }
    // Choosing a room closes the drawer, and brings no keyboard over what one came to read.
    await ada.goTo('another');
    await ada.page.locator('#rooms').waitFor({ state: 'hidden' });
    assert.notEqual(await focused(), 'text');
  });

  stage.test('wide_screen_has_three_panes', async () => {
    const ada = await (await stage.visit({ viewport: { width: 900, height: 700 } })).enter('ada-wide', 'wide');
    const boxes = await Promise.all(['#rooms', '#main', '#people'].map((pane) => ada.page.locator(pane).boundingBox()));
    assert.equal(boxes[0].x, 0);
    assert.equal(boxes[1].x, boxes[0].width);
    assert.equal(boxes[2].x, boxes[1].x + boxes[1].width);
    assert.equal(boxes[2].x + boxes[2].width, 900);
    assert.ok(boxes[1].width >= 400);
    assert.equal(await ada.page.getByRole('button', { name: 'Rooms', exact: true }).isVisible(), false);
    assert.deepEqual([await sideways(ada), await beyond(ada)], [[], []]);
    // From one to the other and back: no pane is left shut or open.
    await ada.page.setViewportSize({ width: 899, height: 700 });
    await ada.page.locator('#rooms').waitFor({ state: 'hidden' });
    await ada.page.getByRole('button', { name: 'Rooms', exact: true }).click();
    await ada.page.locator('#rooms').waitFor();
    await ada.page.setViewportSize({ width: 900, height: 700 });
    await ada.page.locator('#backdrop').waitFor({ state: 'hidden' });
    assert.equal(await ada.page.locator('#main').evaluate((main) => main.inert), false);
    assert.equal(await ada.page.locator('#people').isVisible(), true);
  });

  stage.test('touch_screen_as_wide_as_a_desk_has_large_controls_too', async () => {
    const ada = await stage.visit({ viewport: { width: 1024, height: 768 }, hasTouch: true, isMobile: true }, prepare);
    await settle(ada, robots, 'ada on a tablet');
    for (const { name, open, close } of VIEWS) {
      await open(ada);
      assert.deepEqual(await small(ada), [], name);
      await close(ada);
    }
  });
});
