// The page to look at: pictures in tests/browser/out, phone and desktop, light and dark.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { before } from 'node:test';
import { onStage, OUT } from './harness.js';

const HOUR = 3_600_000;
const talk = [
  ['mira', 'Morning! I moved the nightly backup to 03:30, it was colliding with the index job.'],
  ['mira', 'Graphs look calm since.'],
  ['tom', 'Nice. Restore test from yesterday took **41 s** for the whole log, start to finish.'],
  ['june', 'How long did the old one take?'],
  ['tom', 'About 9 minutes, and it lost the last few lines every time.'],
  ['june', 'So the log *is* the backup now. Love it.'],
  ['mira', 'The check is one line if you want it in your notes:'],
  ['mira', '```\nroomlog log verify --data /data operations\n```'],
  ['june', 'Thanks! Writing it up on https://wiki.example.org/restore'],
].map(([user, content], index) => ({ user, content, timestamp: Date.now() - 26 * HOUR + Math.floor(index / 2) * 11 * 60_000 }));
const sizes = { phone: { width: 375, height: 740 }, desktop: { width: 1200, height: 760 } };

onStage('screenshots', { logs: { operations: talk } }, (stage) => {
  before(() => mkdirSync(OUT, { recursive: true }));

  for (const [size, viewport] of Object.entries(sizes)) {
    stage.test(`are_taken_on_a_${size}_in_light_and_dark`, async () => {
      const robots = await stage.robots();
      for (const name of ['mira', 'tom', 'june']) await robots.join(name, 'operations');
      await robots.command('mira', { type: 'status', status: 'away' });
      await robots.command('june', { type: 'join', room: 'design' });
      const viewer = await stage.visit({ viewport, deviceScaleFactor: 2, reducedMotion: 'reduce', hasTouch: size === 'phone', isMobile: size === 'phone' });
      const shots = async (view) => {
        for (const colorScheme of ['light', 'dark']) {
          await viewer.page.emulateMedia({ colorScheme });
          await viewer.page.screenshot({ path: join(OUT, `${view}-${size}-${colorScheme}.png`) });
        }
      };
      await viewer.page.getByLabel('Your name').fill('ada');
      await shots('welcome');
      await viewer.enter(`ada-${size}`, 'operations');
      await viewer.page.locator('#log a').waitFor();
      for (const room of ['general', 'design', 'operations']) await viewer.goTo(room);
      await viewer.page.locator('#log a').waitFor();
      await robots.say('june', 'design', 'The new icons are up for a look.');
      await viewer.page.locator('#room-list .badge').waitFor({ state: 'attached' });
      await robots.typing('tom', 'operations');
      await viewer.page.getByText('tom is typing…').waitFor();
      await shots('chat');
      if (size === 'desktop') return;
      for (const [button, pane] of [['Rooms', 'rooms'], ['Members', 'people']]) {
        await viewer.page.getByRole('button', { name: button, exact: true }).click();
        await viewer.page.locator(`#${pane}.open`).waitFor();
        await shots(pane);
        await viewer.page.keyboard.press('Escape');
      }
    });
  }
});
