// The keyboard alone: everything in reach, the focus seen and never lost, and input methods left in peace.

import assert from 'node:assert/strict';
import { lines, onStage } from './harness.js';

/** Who has no mouse: goes by Tab, and sees where the focus is. */
class Typist {
  constructor({ page }) {
    this.page = page;
  }

  press(...keys) {
    return keys.reduce((before, key) => before.then(() => this.page.keyboard.press(key)), Promise.resolve());
  }

  /** What has the focus: its id or label, and whether one sees that. */
  focused() {
    return this.page.evaluate(() => {
      const element = document.activeElement;
      const isRing = (of) => {
        const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(of);
        return (outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2) || /\d+px 3px/.test(boxShadow);
      };
      const { top, bottom, left, right } = element.getBoundingClientRect();
      const isInView = bottom > 0 && top < innerHeight && right > 0 && left < innerWidth;
      const isSeen = (isRing(element) || isRing(element.closest('.box') ?? element)) && isInView;
      return { name: element.id || element.ariaLabel || element.textContent, isSeen, isLost: element === document.body };
    });
  }

  /** Tabs on until what is called `name` has the focus; on the way, the focus is seen at each stop. */
  async tabTo(name, key = 'Tab') {
    const stops = [];
    for (let turn = 0; turn < 40; turn += 1) {
      await this.press(key);
      const { name: at, isSeen, isLost } = await this.focused();
      stops.push(at);
      if (!isLost) assert.ok(isSeen, `the focus is not seen at ${at}`);
      if (at === name) return;
    }
    assert.fail(`no way to ${name}: ${stops.join(', ')}`);
  }

  async is(name) {
    await this.page.waitForFunction((wanted) => {
      const element = document.activeElement;
      return (element.id || element.ariaLabel || element.textContent) === wanted;
    }, name);
  }
}

const scrollTop = ({ page }) => page.locator('#log').evaluate((log) => log.scrollTop);
/** Waits until the log has come to rest somewhere else. */
const scrolledFrom = ({ page }, top) => page.waitForFunction((before) => Math.abs(document.querySelector('#log').scrollTop - before) > 20, top);

onStage('keyboard', { logs: { long: lines(300) } }, (stage) => {
  stage.test('everything_can_be_done_without_a_mouse', async () => {
    const ada = await stage.visit();
    const typist = new Typist(ada);
    const { keyboard } = ada.page;
    // Through the door: the suggested name is selected, so typing replaces it.
    await keyboard.type('ada-keys');
    await typist.tabTo('welcome-room');
    await typist.press('Control+a');
    await keyboard.type('long');
    await typist.press('Enter');
    await ada.connected();
    await typist.is('text');
    await ada.sees('line 300');
    await keyboard.type('hello');
    await typist.press('Enter');
    await ada.sees('hello');
    await typist.is('text');
    // Reading back, and to the end again.
    await typist.tabTo('log', 'Shift+Tab');
    const end = await scrollTop(ada);
    await typist.press('PageUp');
    await scrolledFrom(ada, end);
    await typist.press('Home');
    await ada.page.locator('#jump').waitFor();
    await typist.tabTo('jump');
    await typist.press('Enter');
    await ada.page.locator('#jump').waitFor({ state: 'hidden' });
    await typist.is('text');
    // A second room, back to the first through the list, then out of the second.
    await ada.goTo('second');
    await typist.is('text');
    await typist.tabTo('long', 'Shift+Tab');
    await typist.press('Enter');
    await ada.page.locator('#title').getByText('long', { exact: true }).waitFor();
    await typist.is('text');
    await typist.tabTo('Leave second', 'Shift+Tab');
    await typist.press('Enter');
    await ada.page.locator('#room-list').getByText('second').waitFor({ state: 'detached' });
    // The focus is on what took the place of what is gone.
    assert.deepEqual(await typist.focused(), { name: 'Leave long', isSeen: true, isLost: false });
    // Another name, and no other name after all.
    await typist.tabTo('me');
    await typist.press('Enter');
    await typist.is('you-away');
    await typist.tabTo('you-guest');
    await typist.press('Enter');
    await typist.is('welcome-name');
    await typist.press('Escape');
    await typist.is('me');
    // The members.
    await typist.tabTo('people-list');
  });

  stage.test('drawers_are_opened_and_closed_without_a_mouse', async () => {
    const ada = await (await stage.visit({ viewport: { width: 375, height: 700 }, reducedMotion: 'reduce' })).enter('ada-small-keys', 'small');
    const typist = new Typist(ada);
    for (const pane of ['rooms', 'people']) {
      await typist.tabTo(`open-${pane}`, 'Shift+Tab');
      await typist.press('Enter');
      await typist.is(`close-${pane}`);
      // The focus stays in the drawer: what is behind it is not reached.
      for (let turn = 0; turn < 12; turn += 1) {
        await typist.press('Tab');
        const isInside = await ada.page.evaluate((id) => document.activeElement === document.body || document.querySelector(id).contains(document.activeElement), `#${pane}`);
        assert.ok(isInside, pane);
      }
      await typist.press('Escape');
      await typist.is(`open-${pane}`);
      await typist.press('Enter');
      await typist.is(`close-${pane}`);
      await typist.press('Enter');
      await typist.is(`open-${pane}`);
    }
    await ada.goTo('small two');
    await typist.is('text');
    await typist.tabTo('open-rooms', 'Shift+Tab');
    await typist.press('Enter');
    await typist.tabTo('Leave small two');
    await typist.press('Enter');
    await ada.page.locator('#room-list').getByText('small two').waitFor({ state: 'detached' });
    await typist.is('Leave small');
    await typist.press('Enter');
    // With no room left one is where the next is found.
    await ada.page.locator('#room-list li').waitFor({ state: 'detached' });
    assert.equal((await typist.focused()).isLost, false);
  });

  stage.test('focus_stays_where_it_is_while_what_it_is_on_is_drawn_anew', async () => {
    const ada = await (await stage.visit()).enter('ada-focus', 'first');
    await ada.goTo('second');
    const typist = new Typist(ada);
    await typist.tabTo('first', 'Shift+Tab');
    const robots = await (await stage.robots()).join('bob', 'first');
    await robots.say('bob', 'first', 'makes the row new');
    await ada.page.locator('#room-list .badge').waitFor();
    await typist.is('first1'); // with its count
    await typist.press('Enter');
    await ada.page.locator('#title').getByText('first', { exact: true }).waitFor();
  });

  stage.test('enter_sends_and_shift_enter_breaks_the_line', async () => {
    const ada = await (await stage.visit()).enter('ada-enter', 'enter');
    await ada.box.pressSequentially('one');
    await ada.box.press('Shift+Enter');
    await ada.box.pressSequentially('two');
    assert.equal(await ada.box.inputValue(), 'one\ntwo');
    await ada.box.press('Enter');
    await ada.sees('one\ntwo');
    assert.equal(await ada.box.inputValue(), '');
    await ada.box.fill(' \n ');
    await ada.box.press('Enter');
    await ada.say('last');
    await ada.sees('last');
    assert.deepEqual(await ada.log(), [[1, 'one\ntwo'], [2, 'last']]);
  });

  stage.test('enter_of_an_input_method_chooses_and_does_not_send', async () => {
    const ada = await (await stage.visit()).enter('ada-ime', 'ime');
    const client = await ada.context.newCDPSession(ada.page);
    const enter = (fields) =>
      client.send('Input.dispatchKeyEvent', { type: 'rawKeyDown', key: 'Enter', code: 'Enter', windowsVirtualKeyCode: 13, ...fields });
    await ada.box.focus();
    await client.send('Input.imeSetComposition', { text: 'にほん', selectionStart: 3, selectionEnd: 3 });
    assert.equal(await ada.box.inputValue(), 'にほん');
    await ada.box.evaluate((box) => box.addEventListener('keydown', (event) => (window.wasComposing = event.isComposing), { once: true }));
    await enter();
    assert.equal(await ada.page.evaluate(() => window.wasComposing), true, 'the browser composes');
    await client.send('Input.insertText', { text: '日本' });
    // As Safari does it: composition has ended, but the key is the input method's.
    await ada.box.evaluate((box) => {
      const init = { key: 'Enter', keyCode: 229, bubbles: true, cancelable: true };
      box.dispatchEvent(new KeyboardEvent('keydown', init));
    });
    assert.equal(await ada.box.inputValue(), '日本');
    assert.deepEqual(await ada.log(), []);
    await ada.shows(0, '.pending');
    await enter({ text: '\r' });
    await ada.sees('日本');
    assert.deepEqual(await ada.log(), [[1, '日本']]);
  });

  stage.test('each_room_keeps_its_draft', async () => {
    const ada = await (await stage.visit()).enter('ada-draft', 'draft a');
    await ada.box.fill('for a');
    await ada.goTo('draft b');
    const holds = (text) => ada.page.waitForFunction((wanted) => document.querySelector('#text').value === wanted, text);
    await holds('');
    await ada.box.fill('for b\nof two lines');
    const open = (room) => ada.page.locator('#room-list').getByText(room, { exact: true }).click();
    await open('draft a');
    await holds('for a');
    await open('draft b');
    await holds('for b\nof two lines');
    // The box is as high as the draft in it.
    const { height } = await ada.box.boundingBox();
    assert.ok(height >= 60, `${height}`);
    await ada.page.reload();
    await ada.connected();
    await holds('for b\nof two lines');
    await ada.box.press('Enter');
    await ada.sees('for b\nof two lines');
    await open('draft a');
    await holds('for a');
    await open('draft b');
    await holds('');
  });
});
