// What axe finds, in every view, light and dark, small and large; and what it cannot see: motion and forced colours.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { before } from 'node:test';
import { onStage, Robots } from './harness.js';
import { BUSY, busyLog, populate, prepare, settle, VIEWS } from './views.js';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
const SIZES = { phone: { width: 375, height: 700 }, desktop: { width: 1200, height: 760 } };

/** What axe has to say: nothing serious, of many rules that it did try. */
async function examine({ page }, where) {
  // `evaluate` does not go through the page's Content-Security-Policy, as a script tag would.
  if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(AXE);
  const { violations, passes, incomplete } = await page.evaluate(
    (values) =>
      window.axe.run(document, { runOnly: { type: 'tag', values }, rules: { 'target-size': { enabled: true } }, resultTypes: ['violations'] }),
    TAGS,
  );
  const say = ({ id, nodes }) => `${id}: ${nodes.map(({ target, any, all }) => `${target} ${[...any, ...all][0]?.message ?? ''}`).join(' | ')}`;
  assert.deepEqual(violations.filter(({ impact }) => impact === 'serious' || impact === 'critical').map(say), [], where);
  assert.ok(passes.length > 10, `${where}: only ${passes.length} rules`);
  return incomplete;
}

onStage('accessibility', { logs: { [BUSY]: busyLog } }, (stage) => {
  let robots;

  before(async () => {
    robots = await Robots.open(stage.browser, stage.server);
    await populate(robots);
  });

  for (const [size, viewport] of Object.entries(SIZES)) {
    stage.test(`axe_finds_nothing_serious_in_any_view_on_a_${size}`, async () => {
      const options = { viewport, reducedMotion: 'reduce', ...(size === 'phone' ? { hasTouch: true, isMobile: true } : {}) };
      const ada = await stage.visit(options, prepare);
      const inBoth = async (name) => {
        for (const colorScheme of ['light', 'dark']) {
          await ada.page.emulateMedia({ colorScheme });
          await examine(ada, `${name}, ${colorScheme}`);
        }
      };
      await inBoth('door');
      await settle(ada, robots, `ada on a ${size}`);
      for (const { name, open, close } of VIEWS) {
        await open(ada);
        await inBoth(name);
        await close(ada);
      }
    });
  }

  stage.test('names_are_legible_in_each_of_their_colours', async () => {
    const ada = await (await stage.visit()).enter('ada-colours', 'colours');
    const worst = await ada.page.evaluate(() => {
      const channel = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
      const luminance = (color) => {
        const [r, g, b] = color.match(/[\d.]+/g).map((value) => channel(value / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const contrast = (a, b) => {
        const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x);
        return (light + 0.05) / (dark + 0.05);
      };
      const all = [];
      for (let tone = 0; tone < 10; tone += 1) {
        const probe = document.createElement('span');
        probe.className = `avatar tone-${tone}`;
        document.querySelector('#main').append(probe);
        const { color, backgroundColor } = getComputedStyle(probe);
        const paper = getComputedStyle(document.body).backgroundColor;
        all.push(contrast(color, backgroundColor), contrast(color, paper));
        probe.remove();
      }
      return Math.min(...all);
    });
    assert.ok(worst >= 4.5, `${worst}`);
  });

  stage.test('nothing_moves_for_who_wants_no_motion', async () => {
    const ada = await stage.visit({ viewport: SIZES.phone, reducedMotion: 'reduce' }, prepare);
    const moving = () =>
      ada.page.evaluate(() => [
        ...document.getAnimations({ subtree: true }).map((animation) => animation.animationName ?? animation.transitionProperty),
        ...[...document.querySelectorAll('*')].filter((element) => getComputedStyle(element).scrollBehavior === 'smooth').map(({ id }) => id),
      ]);
    assert.deepEqual(await moving(), [], 'door');
    await settle(ada, robots, 'ada in peace');
    for (const { name, open, close } of VIEWS) {
      await open(ada);
      assert.deepEqual(await moving(), [], name);
      await close(ada);
    }
    // With motion the dot of a connection that is coming back pulses: the question above can be answered otherwise.
    await ada.page.emulateMedia({ reducedMotion: 'no-preference' });
    await ada.page.evaluate(() => window.cut());
    await ada.page.locator('#app[data-link="reconnecting"]').waitFor();
    assert.notDeepEqual(await moving(), []);
  });

  stage.test('forced_colours_leave_every_control_visible', async () => {
    const ada = await stage.visit({ forcedColors: 'active' }, prepare);
    // A background is the system's there: a control is seen by its border, its text, or what is drawn in it.
    const unseen = () =>
      ada.page.evaluate(() => {
        const isDrawn = (element, { color, borderTopWidth, borderTopStyle, fill }) => {
          const hasBorder = parseFloat(borderTopWidth) > 0 && borderTopStyle !== 'none';
          const background = getComputedStyle(document.body).backgroundColor;
          if (element.matches('svg *')) return false;
          return hasBorder || (element.textContent.trim() !== '' && color !== background) || fill === 'never';
        };
        const isIconSeen = (element) => {
          const icon = element.querySelector('svg');
          return icon && getComputedStyle(icon).stroke !== getComputedStyle(document.body).backgroundColor;
        };
        return [...document.querySelectorAll('button, input, textarea, .dot, .badge')]
          .filter((element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !element.closest('[inert]'))
          .filter((element) => !isDrawn(element.matches('textarea') ? element.closest('.box') : element, getComputedStyle(element.matches('textarea') ? element.closest('.box') : element)) && !isIconSeen(element))
          .map((element) => element.id || element.className);
      });
    assert.deepEqual(await unseen(), [], 'door');
    await settle(ada, robots, 'ada in forced colours');
    for (const { name, open, close } of VIEWS) {
      await open(ada);
      assert.deepEqual(await unseen(), [], name);
      await close(ada);
    }
    // And the room one is in is told from the others.
    const weight = (selector) => ada.page.locator(selector).first().evaluate((element) => getComputedStyle(element).fontWeight);
    assert.notEqual(await weight('#room-list li.active'), await weight('#room-list li:not(.active, .unread)'));
  });
});
