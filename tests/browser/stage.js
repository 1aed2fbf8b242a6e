// One browser and one server for the tests of a file, and people who come and go.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { openBrowser, Person, Server } from './harness.js';

export const PASSWORD = 'correct horse battery';

/** `define` is given {test, visit, server}: each test's visitors are gone after it, and the server is up again. */
export function stage(name, define, options = []) {
  describe(name, { timeout: 120_000 }, () => {
    const scene = { people: [] };

    before(async () => {
      [scene.browser, scene.server] = await Promise.all([openBrowser(), Server.open(options)]);
    });

    after(async () => {
      await scene.browser?.close();
      await scene.server?.close();
    });

    async function visit(how) {
      const person = await Person.open(scene.browser, scene.server, how);
      scene.people.push(person);
      return person;
    }

    /** Ends the test's visitors; none of them may have seen a script error or a policy violation. */
    async function leaveAll() {
      const complaints = scene.people.flatMap((person) => person.complaints);
      await Promise.all(scene.people.splice(0).map((person) => person.close()));
      assert.deepEqual(complaints, []);
    }

    const test = (title, body) =>
      it(title, async () => {
        try {
          await body();
        } finally {
          if (!scene.server.isUp) await scene.server.start();
          await leaveAll();
        }
      });

    define({ test, visit, server: () => scene.server });
  });
}
