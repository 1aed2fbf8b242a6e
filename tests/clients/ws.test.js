// The server as programs with the ws package see it, on its defaults: compression offered, pings answered. REST and
// event streams by fetch.

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

  command(command) {
    this.socket.send(JSON.stringify(command));
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

const PASSWORD = 'correct horse battery';

/** A request to the REST interface, and its answer's status and JSON. */
async function ask(server, method, path, { token, body } = {}) {
  const headers = {};
  if (token) headers.authorization = `Bearer ${token}`;
  if (body) headers['content-type'] = 'application/json';
  const url = server.url.replace('ws', 'http') + path;
  const answer = await fetch(url, { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  return [answer.status, text ? JSON.parse(text) : null];
}

/** Makes an account and logs in to it; the token. */
async function register(server, user) {
  const body = { user, password: PASSWORD };
  assert.equal((await ask(server, 'POST', '/api/accounts', { body }))[0], 201);
  const [status, login] = await ask(server, 'POST', '/api/sessions', { body });
  assert.deepEqual([status, login.user], [200, user]);
  return login.token;
}

/** A connection that has said hello with a token, and the `connected` that followed from it. */
async function device(server, token) {
  const client = await Client.open(server.url);
  await client.receive('connected');
  client.command({ type: 'hello', token });
  return [client, await client.receive('connected')];
}

/** The events of a stream, as `[id, data]`. */
async function* listen(t, server, room, headers = {}) {
  const over = new AbortController();
  t.after(() => over.abort());
  const url = `${server.url.replace('ws', 'http')}/api/rooms/${encodeURIComponent(room)}/events`;
  const answer = await fetch(url, { headers, signal: over.signal });
  assert.equal(answer.headers.get('content-type'), 'text/event-stream');
  yield 'open';
  let text = '';
  for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
    const blocks = (text + chunk).split('\n\n');
    text = blocks.pop();
    for (const block of blocks.filter((lines) => !lines.startsWith(':'))) {
      const fields = Object.fromEntries(block.split('\n').map((line) => line.split(/: (.*)/s)));
      yield [fields.id, JSON.parse(fields.data)];
    }
  }
}

test('an account is made by fetch and used on a socket', PATIENCE, async (t) => {
  const server = await Server.open(t);
  const token = await register(server, 'alice');
  const again = { user: 'alice', password: PASSWORD };
  assert.equal((await ask(server, 'POST', '/api/accounts', { body: again }))[0], 409);
  assert.equal((await ask(server, 'PUT', '/api/me/rooms/work', { token }))[0], 204);
  const [page, hello] = await device(server, token);
  assert.deepEqual([hello.user, hello.role, hello.rooms], ['alice', 'member', ['work']]);
  const script = await Client.open(`${server.url}/?room=work`, { headers: { authorization: `Bearer ${token}` } });
  assert.equal((await script.receive('connected')).user, 'alice');
  const body = { content: 'by REST' };
  const [status, stored] = await ask(server, 'POST', '/api/rooms/work/messages', { token, body });
  assert.deepEqual([status, await script.heard(1)], [201, [stored]]);
  assert.equal((await ask(server, 'DELETE', '/api/sessions', { token }))[0], 204);
  assert.deepEqual(await Promise.all([page.closed, script.closed]), [4500, 4500]);
});

test('a private message waits for its recipient', PATIENCE, async (t) => {
  const server = await Server.open(t);
  const tokens = { alice: await register(server, 'alice'), bob: await register(server, 'bob') };
  const [alice, before] = await device(server, tokens.alice);
  assert.deepEqual(before.direct, []);
  alice.command({ type: 'private', to: 'bob', content: 'lunch?' });
  const { room } = await alice.receive('private');
  const [bob, { direct }] = await device(server, tokens.bob);
  assert.deepEqual(direct, [{ room, user: 'alice' }]);
  bob.command({ type: 'join', room, since: 0 });
  const [message] = await bob.heard(1);
  assert.deepEqual([message.user, message.content], ['alice', 'lunch?']);
  bob.say(room, 'gladly');
  const answer = await alice.receive('private');
  assert.deepEqual([answer.from, answer.content, answer.sequence], ['bob', 'gladly', 2]);
  const path = `/api/rooms/${encodeURIComponent(room)}/messages`;
  assert.equal((await ask(server, 'GET', path, { token: tokens.alice }))[1].head, 2);
  assert.equal((await ask(server, 'GET', path))[0], 403);
  for (const client of [alice, bob]) client.socket.terminate();
});

test('edits and deletions are told and shown', PATIENCE, async (t) => {
  const server = await Server.open(t);
  const alice = await Client.open(`${server.url}/?user=alice&room=general`);
  const bob = await Client.open(`${server.url}/?user=bob&room=general`);
  await bob.receive('presence');
  for (const content of ['frist', 'secret']) alice.say('general', content);
  // A number can be used once one has been told of it.
  await alice.heard(2);
  alice.command({ type: 'edit', room: 'general', sequence: 1, content: 'first 🦀' });
  alice.command({ type: 'delete', room: 'general', sequence: 2 });
  const told = (await bob.heard(4)).slice(2).map(({ kind, target, content }) => [kind, target, content]);
  assert.deepEqual(told, [['edit', 1, 'first 🦀'], ['delete', 2, '']]);
  const [, { messages }] = await ask(server, 'GET', '/api/rooms/general/messages?limit=2');
  assert.deepEqual([messages[0].content, messages[0].edited.sequence], ['first 🦀', 3]);
  assert.deepEqual([messages[1].content, messages[1].deleted], ['', { sequence: 4 }]);
  bob.command({ type: 'edit', room: 'general', sequence: 1, content: 'mine' });
  assert.equal((await bob.receive('error')).code, 'forbidden');
  for (const client of [alice, bob]) client.socket.terminate();
});

test('a session is resumed and nobody notices', PATIENCE, async (t) => {
  const server = await Server.open(t, '--grace', '1h');
  const bob = await Client.open(`${server.url}/?user=bob&room=general`);
  const before = await Client.open(`${server.url}/?user=alice&room=general`);
  const { session, clientId } = await before.receive('connected');
  before.say('general', 'one');
  await before.heard(1);
  await bob.heard(1);
  before.socket.terminate();
  bob.say('general', 'two');
  const after = await Client.open(`${server.url}/?session=${session}&room=general&since=1`);
  const again = await after.receive('connected');
  assert.deepEqual([again.user, again.clientId], ['alice', clientId]);
  assert.deepEqual((await after.heard(2)).map(({ content }) => content), ['two']);
  after.say('general', 'three');
  const seen = [];
  while (seen.at(-1)?.data.sequence !== 3) seen.push(await bob.next());
  assert.ok(seen.every(({ type, data }) => type !== 'status' && !data.ephemeral), JSON.stringify(seen));
  for (const client of [after, bob]) client.socket.terminate();
});

test('an event stream goes on after the last event id', PATIENCE, async (t) => {
  const server = await Server.open(t);
  const token = await register(server, 'alice');
  const post = async (content) =>
    (await ask(server, 'POST', '/api/rooms/f%C3%BCr%2Falle/messages', { token, body: { content } }))[1];
  await post('before');
  const stream = listen(t, server, 'für/alle');
  assert.equal((await stream.next()).value, 'open');
  const first = await post('one 🦀\nin two lines');
  assert.deepEqual((await stream.next()).value, [first.id, first], 'from now on');
  await stream.return();
  const missed = [await post('two'), await post('three')];
  const resumed = listen(t, server, 'für/alle', { 'last-event-id': first.id });
  assert.equal((await resumed.next()).value, 'open');
  for (const message of missed) assert.deepEqual((await resumed.next()).value, [message.id, message]);
  const live = await post('four');
  assert.deepEqual((await resumed.next()).value, [live.id, live]);
});
