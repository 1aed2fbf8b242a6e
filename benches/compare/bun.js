// Rooms on Bun's native publish/subscribe (uWebSockets). History in memory, the latest 10,000 to 20,000 messages of a room.
//   bun bun.js [PORT]     without a port it picks a free one, and says which
const [KEPT, RECENT, CHUNK] = [10_000, 50, 1_000];
const rooms = new Map();
let connections = 0;

function roomOf(name) {
  let room = rooms.get(name);
  if (!room) rooms.set(name, (room = { sequence: 0, messages: [] }));
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

const server = Bun.serve({
  hostname: '127.0.0.1',
  port: Number(process.argv[2] ?? 0),
  fetch(request, server) {
    if (server.upgrade(request, { data: { user: `user-${++connections}` } })) return;
    return new Response('a WebSocket is wanted', { status: 426 });
  },
  websocket: {
    publishToSelf: true,
    perMessageDeflate: false,
    idleTimeout: 0,
    backpressureLimit: 64 * 1024 * 1024,
    message(ws, text) {
      const command = JSON.parse(text);
      if (command.type === 'message') {
        const { room: name, content } = command.data;
        if (!ws.isSubscribed(name)) return;
        const room = roomOf(name);
        const sequence = ++room.sequence;
        const data = { id: `m${sequence}`, room: name, user: ws.data.user, content, sequence, timestamp: Date.now() };
        const message = JSON.stringify(data);
        if (room.messages.push(message) > 2 * KEPT) room.messages.splice(0, KEPT);
        acknowledge(ws, command, { room: name, sequence, id: data.id, timestamp: data.timestamp });
        server.publish(name, `{"type":"message","data":${message}}`);
      } else if (command.type === 'join') {
        acknowledge(ws, command, { room: command.room, epoch: '0', head: roomOf(command.room).sequence });
        sendHistory(ws, command.room, command.since);
        ws.subscribe(command.room);
      } else if (command.type === 'leave') ws.unsubscribe(command.room);
      else if (command.type === 'history') sendHistory(ws, command.room, command.since ?? 0);
    },
  },
});
console.log(`listening on http://127.0.0.1:${server.port}`);
