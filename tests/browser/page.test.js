// The page as people meet it: through the door, talking, coming back.

import assert from 'node:assert/strict';
import { lines, onStage, range } from './harness.js';

onStage('page', { logs: { reload: lines(60) } }, (stage) => {
  stage.test('two_browsers_chat', async () => {
    const ada = await (await stage.visit()).enter('ada', 'two');
    const bob = await (await stage.visit()).enter('bob', 'two');
    await ada.page.locator('#people-list').getByText('bob').waitFor();
    await ada.say('hello bob');
    await bob.sees('hello bob');
    await bob.say('hello ada');
    await ada.sees('hello ada');
    assert.deepEqual(await ada.log(), [[1, 'hello bob'], [2, 'hello ada']]);
    assert.deepEqual(await bob.log(), await ada.log());
    await ada.shows(0, '.pending');
    await bob.page.getByRole('button', { name: 'Leave two' }).click();
    await ada.page.locator('#people-list').getByText('bob').waitFor({ state: 'detached' });
  });

  stage.test('one_enter_is_enough_for_a_first_visit', async () => {
    const guest = await stage.visit();
    assert.match(await guest.page.getByLabel('Your name').inputValue(), /^\w+-\w+-\d+$/);
    await guest.page.keyboard.press('Enter');
    await guest.connected();
    assert.equal(new URL(guest.page.url()).hash, '#general');
  });

  stage.test('reload_shows_history_under_the_same_name', async () => {
    const ada = await (await stage.visit()).enter('ada-reload', 'reload');
    await ada.say('mine');
    await ada.sees('mine');
    await ada.page.reload();
    await ada.sees('mine');
    assert.deepEqual(await ada.sequences(), range(12, 61));
    assert.equal(await ada.page.locator('#welcome').isVisible(), false);
    assert.equal(await ada.page.locator('#me-name').textContent(), 'ada-reload');
  });

  stage.test('name_taken_asks_again', async () => {
    await (await stage.visit()).enter('ada-name', 'name');
    const other = await stage.visit();
    await other.page.getByLabel('Your name').fill('Ada-Name');
    await other.page.keyboard.press('Enter');
    await other.page.getByText('This name is taken').waitFor();
    await other.page.getByLabel('Your name').fill('ada-the-second');
    await other.page.keyboard.press('Enter');
    await other.connected();
    assert.equal(await other.page.locator('#me-name').textContent(), 'ada-the-second');
  });

  stage.test('every_room_has_an_address_of_its_own', async () => {
    const ada = await (await stage.visit()).enter('ada-address', 'one');
    await ada.goTo('two words');
    assert.equal(new URL(ada.page.url()).hash, '#two%20words');
    await ada.page.goBack();
    await ada.page.locator('#title').getByText('one', { exact: true }).waitFor();
    await ada.page.evaluate(() => (location.hash = 'shared'));
    await ada.page.locator('#title').getByText('shared', { exact: true }).waitFor();
  });
});
