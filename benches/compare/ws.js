// Rooms as sets of sockets, on Node and ws. History in memory, the latest 10,000 to 20,000 messages of a room.
//   node ws.js [PORT]     without a port it picks a free one, and says which
import { WebSocketServer } from 'ws';

const [KEPT, RECENT, CHUNK] = [10_000, 50, 1_000];
const AS_TEXT = { binary: false };
const rooms = new Map();
let connections = 0;

function roomOf(name) {
  let room = rooms.get(name);
  if (!room) rooms.set(name, (room = { sequence: 0, messages: [], members: new Set() }));
  return room;
}

const acknowledge = (ws, { id }, data) => id !== undefined && ws.send(JSON.stringify({ type: 'ack', id, data }));

function sendHistory(ws, name, since) {
  const { sequence, messages } = roomOf(name);
  const first = sequence - messages.length + 1;
  const wanted = messages.slice(Math.max(0, (since ?? sequence - RECENT) + 1 - first));
  if (wanted.length === 0 && since === undefined) return;
  for (let at = 0; at === 0 || at < wanted.length; at += CHUNK) {
    const more = at + CHUNK < wanted.length;
    const list = wanted.slice(at, at + CHUNK).join(',');
    ws.send(`{"type":"history","data":{"room":${JSON.stringify(name)},"messages":[${list}],"more":${more}}}`);
  }
}

function onMessage(ws, text) {
  const command = JSON.parse(text);
  if (command.type === 'message') {
    const { room: name, content } = command.data;
    const room = roomOf(name);
    if (!room.members.has(ws)) return;
    const sequence = ++room.sequence;
    const data = { id: `m${sequence}`, room: name, user: ws.user, content, sequence, timestamp: Date.now() };
    const message = JSON.stringify(data);
    if (room.messages.push(message) > 2 * KEPT) room.messages.splice(0, KEPT);
    acknowledge(ws, command, { room: name, sequence, id: data.id, timestamp: data.timestamp });
    const bytes = Buffer.from(`{"type":"message","data":${message}}`); // once, not for each member
    for (const member of room.members) member.send(bytes, AS_TEXT);
  } else if (command.type === 'join') {
    acknowledge(ws, command, { room: command.room, epoch: '0', head: roomOf(command.room).sequence });
    sendHistory(ws, command.room, command.since);
    roomOf(command.room).members.add(ws);
    ws.rooms.add(command.room);
  } else if (command.type === 'leave') roomOf(command.room).members.delete(ws);
  else if (command.type === 'history') sendHistory(ws, command.room, command.since ?? 0);
}

const options = { host: '127.0.0.1', port: Number(process.argv[2] ?? 0), backlog: 4096, clientTracking: false };
const server = new WebSocketServer({ ...options, perMessageDeflate: false });
server.on('connection', (ws) => {
  Object.assign(ws, { user: `user-${++connections}`, rooms: new Set() });
  ws.on('message', (text) => onMessage(ws, text));
  ws.on('close', () => ws.rooms.forEach((name) => roomOf(name).members.delete(ws)));
  ws.on('error', () => {});
});
server.on('listening', () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
