// A client of the ws package that another program leads: lines of its input are sent, what it receives are lines of its
// output. The tests of one library have the other's client take part with it.

import { createInterface } from 'node:readline';

import { WebSocket } from 'ws';

const socket = new WebSocket(process.argv[2]);
socket.on('message', (data) => process.stdout.write(`${data}\n`));
socket.on('close', (code) => process.exit(code === 1000 ? 0 : 1));
socket.on('open', () => {
  const input = createInterface({ input: process.stdin });
  input.on('line', (line) => socket.send(line));
  input.on('close', () => socket.close(1000));
});
