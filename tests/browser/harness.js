// Starts the real server and a real Chromium for the tests, and ends both. The one place that knows how.

import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
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

/** What the page's modules export. They are copied beside a package.json, without which Node takes them for CommonJS. */
export async function importPage() {
  const folder = mkdtempSync(join(tmpdir(), 'roomlog-page-'));
  try {
    cpSync(join(ROOT, 'public'), folder, { recursive: true });
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
    const modules = ['room', 'rows', 'session'].map((name) => import(pathToFileURL(join(folder, `${name}.js`))));
    return Object.assign({}, ...(await Promise.all(modules)));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A server on a data folder of its own; `stop` and `start` keep folder and port, `close` ends it for good. */
export class Server {
  /** `options` are further options of the command line. */
  static async open(options = []) {
    const server = new Server();
    server.options = options;
    server.data = mkdtempSync(join(tmpdir(), 'roomlog-browser-'));
    server.port = 0;
    await server.start();
    return server;
  }

  async start() {
    const args = ['--port', String(this.port), '--data', this.data, ...this.options];
    this.child = spawn(SERVER, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    this.exited = new Promise((resolve) => this.child.once('exit', resolve));
    this.url = await new Promise((resolve, reject) => {
      this.child.once('error', reject);
      this.child.once('exit', (code) => reject(new Error(`${SERVER} ended with ${code} before it listened`)));
      createInterface({ input: this.child.stdout }).on('line', (line) => {
        const match = /listening on (http:\/\/\S+?)\/?$/.exec(line);
        if (match) resolve(match[1].replace('0.0.0.0', '127.0.0.1'));
      });
    });
    this.port = Number(new URL(this.url).port);
    this.isUp = true;
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

/** One person at one browser of their own, driving the page as a person does. */
export class Person {
  static async open(browser, server, options = {}) {
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
    await person.page.goto(server.url);
    return person;
  }

  /** Goes through the door with a name and a room. */
  async enter(name, room) {
    await this.page.getByLabel('Your name').fill(name);
    await this.page.locator('#welcome-room').fill(room);
    await this.page.keyboard.press('Enter');
    await this.connected();
    return this;
  }

  async connected() {
    await this.page.locator('#app[data-link="connected"]').waitFor();
  }

  async say(text) {
    const box = this.page.getByRole('textbox', { name: 'Message' });
    await box.fill(text);
    await box.press('Enter');
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
