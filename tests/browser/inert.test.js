// What others write is text: in messages, in names, in names of rooms, wherever the page shows them.

import assert from 'node:assert/strict';
import { onStage } from './harness.js';
import { LINKS, PAYLOADS } from './payloads.js';

const characters = (text) => [...text].length;
const hasControl = (text) => /\p{Cc}/u.test(text);

/** User names have at most 32 characters, rooms 64; neither has control characters, and a name none that reorder text. */
const NAMES = PAYLOADS.filter((text) => characters(text) <= 32 && !hasControl(text) && !/^\s|\s$|\p{Cf}/u.test(text));
const ROOMS = PAYLOADS.filter((text) => characters(text) <= 64 && !hasControl(text)).slice(0, 50);

/** Watches for what text must never do; `assertInert` says whether any of it happened. */
function watch(page) {
  const strange = [];
  page.on('dialog', (dialog) => strange.push(dialog.message()) && dialog.dismiss());
  page.on('popup', (popup) => strange.push(`popup ${popup.url()}`));
  page.on('request', (request) => {
    if (!/^(http:\/\/127\.0\.0\.1:\d+\/([\w.]*\.(js|css)|favicon\.ico)?(#.*)?$|data:image\/svg\+xml)/.test(request.url())) strange.push(request.url());
  });
  page.strange = strange;
}

async function assertInert({ page }) {
  const found = await page.evaluate(() => {
    const made = ['A', 'BUTTON', 'CODE', 'DIV', 'EM', 'LI', 'OL', 'P', 'PRE', 'SMALL', 'SPAN', 'STRONG', 'TIME', 'UL', 'BLOCKQUOTE', 'DEL', 'BR'];
    const elements = [...document.querySelectorAll('#log *, #room-list *, #people-list *, #title *, #typing *, #me-name *')];
    return {
      pwned: window.pwned ?? null,
      elements: elements.filter((element) => !made.includes(element.tagName) && !element.closest('svg[aria-hidden]')).map(({ outerHTML }) => outerHTML),
      attributes: elements.flatMap((element) => [...element.attributes].filter(({ name }) => /^on|^style$|^src/.test(name)).map(({ name, value }) => `${name}=${value}`)),
      links: [...document.querySelectorAll('#log a')].filter(
        ({ href, rel, protocol }) => !/^https?:$/.test(protocol) || !/^https?:\/\//.test(href) || rel !== 'noopener noreferrer',
      ).map(({ outerHTML }) => outerHTML),
    };
  });
  assert.deepEqual(found, { pwned: null, elements: [], attributes: [], links: [] });
  assert.deepEqual(page.strange, []);
}

/** A text without what markup may have taken out of it. */
const bare = (text) => text.replace(/[*_`~[\]()!\s]|html/g, '');

onStage('inert', {}, (stage) => {
  stage.test('messages_are_inert', async () => {
    assert.ok(PAYLOADS.length >= 51 && new Set(PAYLOADS).size === PAYLOADS.length);
    const ada = await (await stage.visit({}, watch)).enter('ada-messages', 'inert');
    const robots = await (await stage.robots()).join('eve', 'inert');
    for (const payload of PAYLOADS) await robots.say('eve', 'inert', payload);
    await robots.say('eve', 'inert', 'the end');
    await ada.sees('the end');
    const texts = (await ada.log()).map(([, text]) => text).slice(0, -1);
    assert.deepEqual(texts.map(bare), PAYLOADS.map(bare));
    await assertInert(ada);
    // As history, and as what oneself has written.
    await ada.page.reload();
    await ada.sees('the end');
    await assertInert(ada);
    for (const payload of PAYLOADS.slice(0, 5)) await ada.say(payload);
    await ada.sees(PAYLOADS[4]);
    await assertInert(ada);
  });

  stage.test('links_lead_to_the_web_only_and_tell_it_nothing', async () => {
    const ada = await (await stage.visit({}, watch)).enter('ada-links', 'links');
    const robots = await (await stage.robots()).join('eve-links', 'links');
    await robots.say('eve-links', 'links', ...LINKS.map(([text]) => text), 'the end');
    await ada.sees('the end');
    const hrefs = await ada.page.locator('.message .body').evaluateAll((bodies) => bodies.map((body) => [...body.querySelectorAll('a')].map(({ href }) => href)));
    for (const [index, [text, expected]] of LINKS.entries()) {
      if (expected) assert.deepEqual(hrefs[index], expected, text);
    }
    assert.ok(await ada.page.locator('#log a').evaluateAll((links) => links.every(({ target }) => target === '_blank')));
    await assertInert(ada);
  });

  stage.test('names_of_people_are_inert_in_every_place', async () => {
    assert.ok(NAMES.length >= 15, `${NAMES.length}`);
    const ada = await (await stage.visit({}, watch)).enter('ada-names', 'names');
    const robots = await stage.robots();
    // Shown when they come, in the list, over a message, while they type, and when they go.
    for (const name of NAMES) await robots.join(name, 'names');
    for (const name of NAMES) await robots.say(name, 'names', 'hello');
    await ada.page.waitForFunction((count) => document.querySelectorAll('#people-list li').length === count, NAMES.length + 1);
    await ada.page.waitForFunction((count) => document.querySelectorAll('.message.head').length === count, NAMES.length);
    const shown = await ada.page.locator('.message .name').allTextContents();
    assert.deepEqual(shown, NAMES);
    const listed = await ada.page.locator('#people-list .label').evaluateAll((labels) => labels.map((label) => label.firstChild.textContent));
    assert.deepEqual(listed.sort(), [...NAMES, 'ada-names'].sort());
    await robots.typing(NAMES[0], 'names');
    await ada.page.locator('#typing').getByText(`${NAMES[0]} is typing…`, { exact: true }).waitFor();
    await assertInert(ada);
    const eve = await (await stage.visit({}, watch)).enter('<i>"me"</i>', 'names');
    assert.equal(await eve.page.locator('#me-name').textContent(), '<i>"me"</i>');
    await assertInert(eve);
  });

  stage.test('names_of_rooms_are_inert_in_every_place', async () => {
    assert.equal(ROOMS.length, 50);
    const ada = await (await stage.visit({}, watch)).enter('ada-rooms', 'plain');
    for (const [index, room] of ROOMS.entries()) {
      await ada.page.evaluate((name) => (location.hash = encodeURIComponent(name)), room);
      await ada.page.waitForFunction((count) => document.querySelectorAll('#room-list li').length === count, index + 2);
      await ada.page.waitForFunction((name) => document.querySelector('#title').textContent === name, room);
    }
    assert.deepEqual(await ada.page.locator('#room-list .label').allTextContents(), ['plain', ...ROOMS]);
    assert.equal(await ada.page.title(), `#${ROOMS.at(-1)} · Roomlog`);
    assert.equal(await ada.box.getAttribute('placeholder'), `Message #${ROOMS.at(-1)}`);
    await assertInert(ada);
    await ada.page.reload();
    await ada.connected();
    await ada.page.waitForFunction((count) => document.querySelectorAll('#room-list li').length === count, ROOMS.length + 1);
    await assertInert(ada);
  });
});
