// The server as programs with the ws package see it, on its defaults: compression offered, pings answered.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { WebSocket } from 'ws';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const builds = ['release', 'debug'].map((profile) => join(ROOT, 'target', profile, 'roomlog'));
const BINARY = process.env.ROOMLOG_BIN ?? builds.find((path) => existsSync(path)) ?? builds[0];
const PATIENCE = { timeout: 30_000 };

/** The real binary over a data folder of its own, which outlives its restarts. */
class Server {
  static async open(t, ...flags) {
    const server = new Server();
    server.flags = flags;
    server.data = mkdtempSync(join(tmpdir(), 'roomlog-clients-'));
    await server.start();
    t.after(async () => {
      if (server.child.exitCode === null && server.child.signalCode === null) await server.end('SIGKILL');
      rmSync(server.data, { recursive: true, force: true });
    });
    return server;
  }

  async start() {
    const args = ['--port', '0', '--bind', '127.0.0.1', '--data', this.data, '--log-level', 'error', ...this.flags];
    this.child = spawn(BINARY, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const [line] = await once(createInterface({ input: this.child.stdout }), 'line');
    this.url = line.replace('listening on http', 'ws');
  }

  async end(signal) {
    const exited = once(this.child, 'exit');
    this.child.kill(signal);
    return (await exited)[0];
  }
}

/** A connection whose events wait until they are asked for. */
class Client {
  static async open(url, ...options) {
    const client = new Client();
    client.socket = new WebSocket(url, ...options);
    client.events = [];
    client.closed = new Promise((resolve) => client.socket.once('close', (code) => resolve(code)));
    client.socket.on('message', (data) => {
      client.events.push(JSON.parse(data));
      client.wake?.();
    });
    await once(client.socket, 'open');
    return client;
  }

  say(room, content, more = {}) {
    this.socket.send(JSON.stringify({ type: 'message', data: { room, content, ...more } }));
  }

  async next() {
    while (this.events.length === 0) await new Promise((resolve) => (this.wake = resolve));
    return this.events.shift();
  }

  /** The data of the next event of a type; the others are passed over. */
  async receive(type) {
    for (;;) {
      const event = await this.next();
      if (event.type === type) return event.data;
    }
  }

  /** Stored messages, of history and live, until the one with this number. */
  async heard(last) {
    const messages = [];
    while (messages.at(-1)?.sequence !== last) {
      const { type, data } = await this.next();
      if (type === 'history') messages.push(...data.messages);
      if (type === 'message' && !data.ephemeral) messages.push(data);
    }
    return messages;
  }
}

test('two clients chat', PATIENCE, async (t) => {
  const server = await Server.open(t);
  const alice = await Client.open(`${server.url}/?user=alice&room=general`);
  const bob = await Client.open(`${server.url}/ws`);
  assert.equal((await alice.receive('connected')).user, 'alice');
  bob.socket.send(JSON.stringify({ type: 'join', username: 'bob', id: 1 }));
  assert.equal((await bob.receive('ack')).room, 'general');
  bob.say('general', 'hello, 🦀');
  const [message] = await alice.heard(1);
  assert.deepEqual([message.user, message.content], ['bob', 'hello, 🦀']);
  alice.socket.close(1000);
  assert.equal(await alice.closed, 1000);
});

test('what is offered is negotiated', PATIENCE, async (t) => {
  const server = await Server.open(t);
  const { socket } = await Client.open(server.url, ['other', 'roomlog.v1'], { perMessageDeflate: true });
  assert.equal(socket.protocol, 'roomlog.v1');
  assert.equal(socket.extensions, '', 'compression is not taken up');
  const pong = once(socket, 'pong');
  socket.ping('are you there?');
  assert.equal(String((await pong)[0]), 'are you there?');
});

test('pings of the server are answered without the program', PATIENCE, async (t) => {
  const server = await Server.open(t, '--heartbeat', '100ms', '--offline-timeout', '1s');
  const client = await Client.open(server.url);
  for (let n = 0; n < 15; n += 1) await client.receive('heartbeat');
  assert.equal(client.socket.readyState, WebSocket.OPEN);
});

test('fragmented messages are put together', PATIENCE, async (t) => {
  const server = await Server.open(t);
  const client = await Client.open(`${server.url}/?room=general`);
  const whole = JSON.stringify({ type: 'message', data: { room: 'general', content: 'in three pieces' } });
  client.socket.send(whole.slice(0, 10), { fin: false });
  client.socket.send(whole.slice(10, 20), { fin: false });
  client.socket.send(whole.slice(20), { fin: true });
  assert.equal((await client.heard(1))[0].content, 'in three pieces');
});

test('eight clients see one order', PATIENCE, async (t) => {
  const server = await Server.open(t, '--rate', '0');
  const clients = [];
  for (let n = 0; n < 8; n += 1) {
    clients.push(await Client.open(`${server.url}/?user=c${n}&room=general`));
    await clients[n].receive('presence');
  }
  for (let number = 0; number < 100; number += 1) clients.forEach((client, n) => client.say('general', `c${n} ${number}`));
  const logs = await Promise.all(clients.map((client) => client.heard(800)));
  assert.deepEqual(logs[0].map((message) => message.sequence), Array.from({ length: 800 }, (_, n) => n + 1));
  assert.equal(new Set(logs[0].map((message) => message.content)).size, 800);
  for (const log of logs) assert.deepEqual(log, logs[0]);
  clients.forEach((client) => client.socket.terminate());
});

test('close codes reach the client', PATIENCE, async (t) => {
  const server = await Server.open(t);
  for (const [frame, code] of [[Buffer.from('binary'), 1003], ['x'.repeat(16_385), 1009]]) {
    const client = await Client.open(server.url);
    client.socket.send(frame);
    assert.equal(await client.closed, code);
  }
  const foreign = new WebSocket(server.url, { origin: 'https://evil.example' });
  const [error] = await once(foreign, 'error');
  assert.match(error.message, /403/);
});

test('a client resumes over a crash', PATIENCE, async (t) => {
  const server = await Server.open(t, '--rate', '0');
  const before = await Client.open(`${server.url}/?user=alice&room=general`);
  for (let n = 1; n <= 10; n += 1) before.say('general', `message ${n}`, { nonce: `n${n}` });
  await before.heard(10);
  await server.end('SIGKILL');
  assert.equal(await before.closed, 1006);
  await server.start();
  const after = await Client.open(`${server.url}/?user=alice&room=general&since=7`);
  assert.deepEqual((await after.heard(10)).map((message) => message.sequence), [8, 9, 10]);
  after.say('general', 'message 10', { nonce: 'n10' });
  after.say('general', 'message 11', { nonce: 'n11' });
  assert.equal((await after.heard(11))[0].content, 'message 11', 'the repeat is not there twice');
  after.socket.terminate();
});

test('the end is told with 1001', PATIENCE, async (t) => {
  const server = await Server.open(t);
  const client = await Client.open(server.url);
  const ended = server.end('SIGTERM');
  assert.equal(await client.closed, 1001);
  assert.equal(await ended, 0);
});
