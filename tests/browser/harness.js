// Starts the real server and a real Chromium for the tests, and ends both. The one place that knows how.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = join(HERE, '..', '..');
export const OUT = join(HERE, 'out');

const builds = ['release', 'debug'].map((profile) => join(ROOT, 'target', profile, 'roomlog'));
const SERVER = process.env.ROOMLOG_BIN ?? builds.find((path) => existsSync(path)) ?? builds[0];

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const CHROMIUM_ARGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export const range = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

/** Messages for a room's log before the server starts: `count` of them, a minute apart, ending a day ago. */
export const lines = (count, fields = {}) =>
  range(1, count).map((number) => ({
    user: 'scribe', content: `line ${number}`, timestamp: Date.now() - 86_400_000 - (count - number) * 60_000, ...fields,
  }));

/** What the page's modules export. They are copied beside a package.json, without which Node takes them for CommonJS. */
export async function importPage() {
  const folder = mkdtempSync(join(tmpdir(), 'roomlog-page-'));
  try {
    cpSync(join(ROOT, 'public'), folder, { recursive: true });
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
    const modules = ['room', 'rows', 'session', 'switcher', 'text'].map((name) => import(pathToFileURL(join(folder, `${name}.js`))));
    return Object.assign({}, ...(await Promise.all(modules)));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A server on a data folder of its own; `stop` and `start` keep folder and port, `close` ends it for good. */
export class Server {
  /** `logs`: room → messages ({user, content, timestamp}) that are there from the start; `args`: further flags. */
  static async open({ logs = {}, args = [] } = {}) {
    const server = new Server();
    server.args = args;
    server.data = mkdtempSync(join(tmpdir(), 'roomlog-browser-'));
    server.port = 0;
    for (const [room, messages] of Object.entries(logs)) server.import(room, messages);
    await server.start();
    return server;
  }

  /** Appends to a room's log, timestamps and all, while the server is down. */
  import(room, messages) {
    const input = messages.map((message) => `${JSON.stringify(message)}\n`).join('');
    execFileSync(SERVER, ['log', 'import', room, '--data', this.data], { input, stdio: ['pipe', 'ignore', 'inherit'] });
  }

  async start() {
    // Tests write faster than people do.
    const args = ['--port', String(this.port), '--data', this.data, '--bind', '127.0.0.1', '--rate', '0', ...this.args];
    this.child = spawn(SERVER, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    this.exited = new Promise((resolve) => this.child.once('exit', resolve));
    this.url = await new Promise((resolve, reject) => {
      this.child.once('error', reject);
      this.child.once('exit', (code) => reject(new Error(`${SERVER} ended with ${code} before it listened`)));
      createInterface({ input: this.child.stdout }).on('line', (line) => {
        const match = /listening on (http:\/\/\S+?)\/?$/.exec(line);
        if (match) resolve(match[1]);
      });
    });
    this.port = Number(new URL(this.url).port);
    this.isUp = true;
  }

  /** Makes an account, as an operator does: who registers many is slowed down. */
  account(name, password) {
    const env = { ...process.env, ROOMLOG_PASSWORD: password };
    execFileSync(SERVER, ['account', 'add', name, '--data', this.data], { env, stdio: ['ignore', 'ignore', 'inherit'] });
  }

  /** Ends the process: `SIGTERM` as an operator does, `SIGKILL` as a crash does. */
  async stop(signal = 'SIGTERM') {
    this.isUp = false;
    this.child.kill(signal);
    await this.exited;
  }

  async close() {
    await this.stop('SIGKILL');
    rmSync(this.data, { recursive: true, force: true });
  }
}

export async function openBrowser() {
  const { chromium } = await import('playwright-core');
  return chromium.launch({ executablePath: CHROMIUM, args: CHROMIUM_ARGS });
}

/** Where a file's tests happen: a browser, a server, and who visits. */
class Stage {
  constructor(options) {
    this.options = options;
    this.people = [];
  }

  async open() {
    const opened = await Promise.allSettled([openBrowser(), Server.open(this.options)]);
    // Whichever of the two is there has to be closed, or the process would wait for it for ever.
    [this.browser, this.server] = opened.map(({ value }) => value);
    const failed = opened.find(({ status }) => status === 'rejected');
    if (failed) throw failed.reason;
  }

  async close() {
    await this.browser?.close();
    await this.server?.close();
  }

  /** A new visitor; `prepare` gets the page before it is opened. */
  async visit(options, prepare) {
    const person = await Person.open(this.browser, this.server, options, prepare);
    this.people.push(person);
    return person;
  }

  async robots() {
    const robots = await Robots.open(this.browser, this.server);
    this.people.push(robots);
    return robots;
  }

  /** A test after which the server is up and the visitors are gone; none may have seen an error or a policy violation. */
  test(name, body) {
    it(name, async () => {
      try {
        await body();
      } finally {
        if (!this.server.isUp) await this.server.start();
        await this.leaveAll();
      }
    });
  }

  async leaveAll() {
    const complaints = this.people.flatMap((person) => person.complaints);
    await Promise.all(this.people.splice(0).map((person) => person.close()));
    assert.deepEqual(complaints, []);
  }
}

/** Describes tests that share a browser and a server; `options` are those of `Server.open`. */
export function onStage(name, options, body) {
  describe(name, { timeout: 120_000 }, () => {
    const stage = new Stage(options);
    before(() => stage.open());
    after(() => stage.close());
    body(stage);
  });
}

/** Members that speak the protocol bare, without the page: many of them, quick, saying what the page would not. */
export class Robots {
  complaints = [];

  static async open(browser, server) {
    const robots = new Robots();
    robots.context = await browser.newContext({ bypassCSP: true });
    robots.page = await robots.context.newPage();
    await robots.page.goto(`${server.url}/healthz`); // any address of the server's own origin
    await robots.page.evaluate(() => {
      window.robots = new Map();
    });
    return robots;
  }

  /** Connects as `user`, and joins `room`. */
  async join(user, room) {
    await this.page.evaluate(async (user) => {
      const socket = new WebSocket(`ws://${location.host}/ws?user=${encodeURIComponent(user)}`, 'roomlog.v1');
      const waiting = new Map();
      const connected = new Promise((resolve, reject) => {
        waiting.set('connected', { resolve });
        socket.onclose = ({ code, reason }) => reject(new Error(`${user}: ${code} ${reason}`));
      });
      socket.onmessage = ({ data }) => {
        const { type, id = type, data: answer } = JSON.parse(data);
        const asker = waiting.get(id);
        waiting.delete(id);
        if (type === 'error') asker?.reject(new Error(answer.message));
        else asker?.resolve();
      };
      const command = (frame) =>
        new Promise((resolve, reject) => {
          const id = `${waiting.size} ${Math.random()}`;
          waiting.set(id, { resolve, reject });
          socket.send(JSON.stringify({ ...frame, id }));
        });
      window.robots.set(user, { socket, command });
      await connected;
    }, user);
    await this.command(user, { type: 'join', room });
    return this;
  }

  /** Sends commands, and waits for their acks. */
  command(user, ...frames) {
    const send = ([user, frames]) => Promise.all(frames.map((frame) => window.robots.get(user).command(frame)));
    return this.page.evaluate(send, [user, frames]);
  }

  say(user, room, ...texts) {
    return this.command(user, ...texts.map((content) => ({ type: 'message', data: { room, content } })));
  }

  typing(user, room, isTyping = true) {
    return this.command(user, { type: 'typing', room, isTyping });
  }

  /** Says goodbye, so that the names are free again. */
  async close() {
    await this.page.evaluate(() => {
      const goodbye = ({ socket }) =>
        new Promise((resolve) => {
          socket.onclose = resolve;
          if (socket.readyState === WebSocket.CLOSED) resolve();
          socket.close(1000);
        });
      return Promise.all([...window.robots.values()].map(goodbye));
    });
    await this.context.close();
  }
}

/**
 * One person at one browser of their own, driving the page as a person does. The server holds a name for a while after
 * its browser is closed, so each test has names of its own.
 */
export class Person {
  static async open(browser, server, options = {}, prepare = () => {}) {
    const person = new Person();
    person.context = await browser.newContext({ viewport: { width: 1200, height: 760 }, ...options });
    person.page = await person.context.newPage();
    person.page.setDefaultTimeout(6_000);
    person.complaints = []; // script errors and policy violations: a good page has none
    person.page.on('pageerror', (error) => person.complaints.push(String(error)));
    person.page.on('console', (message) => {
      // A refused connection while the server is down is the network's complaint, not the page's.
      if (message.type() === 'error' && !/ERR_|WebSocket connection/.test(message.text())) person.complaints.push(message.text());
    });
    await prepare(person.page);
    await person.page.goto(server.url);
    return person;
  }

  /** Says a name and a room at the door. */
  async knock(name, room) {
    await this.page.getByLabel('Your name').fill(name);
    await this.page.locator('#welcome-room').fill(room);
    await this.page.keyboard.press('Enter');
  }

  /** Goes through the door. */
  async enter(name, room) {
    await this.knock(name, room);
    await this.connected();
    return this;
  }

  /** Turns to a room, joining it if need be. */
  async goTo(room) {
    await this.page.keyboard.press('Control+k');
    await this.page.keyboard.type(room);
    await this.page.keyboard.press('Enter');
    await this.page.waitForFunction((hash) => location.hash === hash, `#${encodeURIComponent(room)}`);
  }

  async connected() {
    await this.page.locator('#app[data-link="connected"]').waitFor();
  }

  /** Where one writes. */
  get box() {
    return this.page.getByRole('textbox', { name: 'Message' });
  }

  async say(text) {
    await this.box.fill(text);
    await this.box.press('Enter');
  }

  /** Waits until a stored message with this text is shown. */
  async sees(text) {
    await this.page.locator('.message:not(.pending) .body').getByText(text, { exact: true }).first().waitFor();
  }

  /** The stored messages shown, as [sequence, text]. */
  log() {
    return this.page.locator('.message:not(.pending)').evaluateAll((rows) =>
      rows.map((row) => [Number(row.dataset.sequence), row.querySelector('.body').textContent]),
    );
  }

  /** The stored sequences shown. */
  async sequences() {
    return (await this.log()).map(([sequence]) => sequence);
  }

  scrollTo(top) {
    return this.page.locator('#log').evaluate((log, to) => (log.scrollTop = to), top);
  }

  /** Waits until what has happened is drawn. */
  drawn() {
    return this.page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
  }

  /** Turns the page's tab to the front or to the back, as far as the page can tell. */
  turnTab(state) {
    return this.page.evaluate((visibilityState) => {
      delete document.visibilityState;
      if (visibilityState === 'hidden') Object.defineProperty(document, 'visibilityState', { configurable: true, value: 'hidden' });
      document.dispatchEvent(new Event('visibilitychange'));
    }, state);
  }

  count(selector) {
    return this.page.locator(selector).count();
  }

  /** Waits until exactly `count` elements match. */
  async shows(count, selector) {
    await this.page.waitForFunction(([css, n]) => document.querySelectorAll(css).length === n, [selector, count]);
  }

  close() {
    return this.context.close();
  }
}
