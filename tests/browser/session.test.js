// The page's state without a browser: frames and the time go in, effects come out.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Desk, Room, asideText, backoffMs, isTerminal, lowerBound, message, messages, range, rowsOf, sequences } from './desk.js';

describe('connection', () => {
  it('guest_name_is_replaced_by_hello_before_rooms_are_joined', () => {
    const desk = new Desk();
    desk.session.join('general', 0);
    desk.connect('user_12345678');
    const [hello, ...rest] = desk.take();
    assert.deepEqual([hello.type, hello.user, rest], ['hello', 'alice', []]);
    desk.answer('connected', { user: 'Alice', session: 's2' });
    assert.equal(desk.session.user, 'Alice');
    assert.deepEqual(desk.take().map(({ type }) => type), ['join']);
  });

  it('taken_name_is_asked_again_on_the_same_connection', () => {
    const desk = new Desk().connect('user_12345678');
    const [hello] = desk.take();
    desk.answer('error', { code: 'name_taken', message: 'in use' }, hello.id);
    assert.equal(desk.session.link.phase, 'naming');
    assert.match(desk.effects('askName')[0].askName, /in use/);
    desk.session.start('alice2', 0);
    assert.deepEqual(desk.take().map(({ type, user }) => [type, user]), [['hello', 'alice2']]);
    desk.answer('connected', { user: 'alice2', session: 's2' });
    assert.ok(desk.session.isConnected);
  });

  it('refused_change_of_name_keeps_the_name_held', () => {
    const desk = new Desk().connect();
    desk.session.start('bob', 0);
    desk.answer('error', { code: 'name_taken', message: 'in use' }, desk.take()[0].id);
    assert.equal(desk.session.user, 'alice');
    assert.ok(desk.session.isConnected);
  });

  it('terminal_close_codes_do_not_loop', () => {
    for (const code of [1000, 1002, 1003, 1007, 1008, 1009, 4500, 4501, 4999]) {
      assert.ok(isTerminal(code), String(code));
      const desk = new Desk().connect();
      desk.session.closed(code, 'enough', 0);
      desk.session.tick(1e9);
      desk.session.visible(1e9);
      desk.session.network(true, 1e9);
      assert.equal(desk.session.link.phase, 'stopped');
      assert.equal(desk.session.wakeAt(), Infinity);
      desk.session.retry(1e9);
      assert.equal(desk.session.link.phase, 'connecting', 'a person may still try');
    }
    for (const code of [1001, 1005, 1006, 1011, 1012, 1013, 4000, 4499]) assert.ok(!isTerminal(code), String(code));
  });

  it('backoff_grows_from_half_a_second_to_thirty_and_jitters_from_zero', () => {
    assert.deepEqual([0, 1, 2, 6, 40].map((attempt) => backoffMs(attempt, () => 1)), [500, 1_000, 2_000, 30_000, 30_000]);
    assert.equal(backoffMs(9, () => 0), 0);
    const desk = new Desk();
    desk.session.start('alice', 0);
    for (const expected of [500, 1_000, 2_000]) {
      desk.session.closed(1006, '', desk.now);
      assert.equal(desk.session.wakeAt() - desk.now, expected);
      desk.now = desk.session.wakeAt();
      desk.session.tick(desk.now);
      assert.equal(desk.session.link.phase, 'connecting');
    }
  });

  it('backoff_starts_afresh_only_after_a_stable_connection', () => {
    const desk = new Desk();
    desk.session.start('alice', 0);
    desk.session.closed(1006, '', 0);
    desk.session.tick(500);
    desk.arrive().session.closed(1013, '', 600);
    assert.equal(desk.session.wakeAt(), 1_600, 'a server that throws us out at once is not hammered');
    desk.session.tick(1_600);
    desk.now = 1_600;
    desk.arrive();
    desk.session.closed(1006, '', 60_000);
    assert.equal(desk.session.wakeAt(), 60_500);
  });

  it('silence_of_two_and_a_half_heartbeats_is_a_dead_link', () => {
    const desk = new Desk().connect();
    assert.equal(desk.session.wakeAt(), 2_500);
    desk.now = 2_000;
    desk.answer('heartbeat', { timestamp: 0 });
    desk.session.tick(4_499);
    assert.ok(desk.session.isConnected);
    desk.session.drain();
    desk.session.tick(4_500);
    assert.deepEqual(desk.session.drain(), [{ disconnect: true }]);
    assert.equal(desk.session.link.phase, 'waiting');
  });

  it('silent_connection_attempt_is_given_up', () => {
    const desk = new Desk();
    desk.session.start('alice', 0);
    desk.session.tick(10_000);
    assert.equal(desk.session.link.phase, 'waiting');
  });

  it('coming_back_online_or_into_view_reconnects_at_once', () => {
    for (const event of ['visible', 'network']) {
      const desk = new Desk().connect();
      desk.session.closed(1006, '', 0);
      desk.session.drain();
      if (event === 'visible') desk.session.visible(1);
      else desk.session.network(true, 1);
      assert.deepEqual(desk.session.drain(), [{ connect: 's1' }], 'with the session to resume');
    }
  });

  it('unanswered_probe_ends_the_link', () => {
    const desk = new Desk().connect();
    desk.session.heartbeatMs = 60_000;
    desk.session.visible(10);
    desk.session.tick(4_010);
    assert.equal(desk.session.link.phase, 'waiting');
  });

  it('latency_is_taken_from_pong', () => {
    const desk = new Desk().connect();
    desk.now = 17;
    desk.answer('pong', { timestamp: 5 });
    assert.equal(desk.session.latencyMs, 12);
  });
});

describe('log', () => {
  it('duplicates_are_dropped_and_order_is_by_sequence', () => {
    const desk = new Desk().connect().enter(3);
    for (const sequence of [2, 3, 4, 4, 1, 5]) desk.answer('message', message(sequence));
    assert.deepEqual(sequences(desk.room), range(1, 5));
  });

  it('reconnect_resumes_after_the_last_sequence_in_its_epoch', () => {
    const desk = new Desk().connect().enter(3);
    desk.session.closed(1001, '', 0);
    desk.session.tick(500);
    desk.arrive();
    const [join] = desk.take();
    assert.deepEqual([join.type, join.since, join.epoch], ['join', 3, 'e1']);
    // Delivered from the session's old cursor before the join is answered: the replay will have it.
    desk.answer('message', message(7));
    assert.deepEqual(desk.take(), []);
    desk.answer('ack', { room: 'general', epoch: 'e1', head: 8 }, join.id);
    desk.history({ messages: messages(4, 6), head: 8, more: true });
    assert.equal(desk.room.phase, 'replaying');
    desk.history({ messages: messages(7, 8), head: 8 });
    assert.equal(desk.room.phase, 'live');
    assert.deepEqual(sequences(desk.room), range(1, 8));
  });

  it('delivery_before_the_first_join_is_answered_does_not_start_the_log', () => {
    const desk = new Desk().connect();
    desk.session.join('general', 0);
    desk.answer('message', message(7));
    desk.caughtUp(7);
    assert.deepEqual(sequences(desk.room), range(1, 7));
  });

  it('hole_in_live_messages_is_mended_by_joining_from_the_cursor', () => {
    const desk = new Desk().connect().enter(3);
    desk.answer('message', message(6));
    assert.deepEqual(sequences(desk.room), range(1, 3));
    desk.caughtUp(6);
    assert.deepEqual(sequences(desk.room), range(1, 6));
  });

  it('reset_starts_the_log_over_and_says_why', () => {
    const desk = new Desk().connect().enter(5);
    desk.session.closed(1006, '', 0);
    desk.session.tick(500);
    desk.arrive();
    const [join] = desk.take();
    desk.answer('ack', { room: 'general', epoch: 'e2', head: 2 }, join.id);
    desk.history({ messages: messages(1, 2), epoch: 'e2', head: 2, reset: 'epoch_changed' });
    assert.deepEqual(sequences(desk.room), [1, 2]);
    assert.equal(desk.room.epoch, 'e2');
    const kinds = rowsOf(desk.room, { from: 0, to: 2, isTail: true, self: 'alice', now: 0 }).map(({ kind }) => kind);
    assert.equal(kinds.filter((kind) => kind === 'note').length, 1);
  });

  it('gap_reported_by_the_server_is_shown_as_a_gap', () => {
    const desk = new Desk().connect().enter(2);
    desk.history({ messages: messages(6, 7), head: 7, gap: { from: 3, to: 5 } });
    const rows = rowsOf(desk.room, { from: 0, to: 4, isTail: true, self: 'alice', now: 0 });
    assert.deepEqual(rows.filter(({ kind }) => kind === 'gap').map(({ from, to }) => [from, to]), [[3, 5]]);
  });

  it('older_pages_are_prepended_once_and_end_at_the_floor', () => {
    const desk = new Desk().connect();
    desk.session.join('general', 0);
    desk.answer('ack', { room: 'general', epoch: 'e1', head: 120 }, desk.take()[0].id);
    desk.history({ messages: messages(71, 120), head: 120, floor: 11 });
    for (const from of [21, 11]) {
      const before = desk.room.first;
      desk.session.older('general');
      desk.session.older('general');
      const asked = desk.take();
      assert.deepEqual(asked.map((frame) => [frame.type, frame.before]), [['history', before]]);
      desk.history({ messages: messages(from, before - 1), head: 120, floor: 11 });
      desk.answer('ack', {}, asked[0].id);
    }
    assert.deepEqual(sequences(desk.room), range(11, 120));
    desk.session.older('general');
    assert.deepEqual(desk.take(), []);
  });

  it('announcement_never_moves_the_position', () => {
    const desk = new Desk().connect().enter(3);
    desk.answer('message', message(4, { user: 'system', kind: 'join', content: 'carol joined the room', subject: 'carol', ephemeral: true }));
    assert.equal(desk.room.last, 3);
    assert.equal(desk.room.members.get('carol'), 'online');
    desk.answer('message', message(3, { user: 'system', kind: 'leave', content: 'carol left the room', subject: 'carol', ephemeral: true }));
    assert.equal(desk.room.members.has('carol'), false);
  });

  it('lower_bound_finds_the_first_at_least', () => {
    const log = [2, 4, 6].map((sequence) => message(sequence));
    assert.deepEqual([0, 2, 3, 6, 7].map((sequence) => lowerBound(log, sequence)), [0, 0, 1, 2, 3]);
  });
});

describe('outbox', () => {
  it('one_send_is_in_flight_so_order_is_kept', () => {
    const desk = new Desk().connect().enter();
    desk.session.send('general', 'a', 0);
    desk.session.send('general', 'b', 0);
    const [first, ...rest] = desk.take();
    assert.deepEqual([first.data.content, rest], ['a', []]);
    desk.answer('ack', { room: 'general', sequence: 1 }, first.id);
    assert.deepEqual(desk.take().map(({ data }) => data.content), ['b']);
  });

  it('row_is_exactly_one_whichever_of_ack_and_message_comes_first', () => {
    for (const order of [['ack', 'message'], ['message', 'ack']]) {
      const desk = new Desk().connect().enter();
      desk.session.send('general', 'a', 0);
      const [sent] = desk.take();
      for (const type of order) {
        if (type === 'ack') desk.answer('ack', { room: 'general', sequence: 1 }, sent.id);
        else desk.answer('message', message(1, { user: 'alice', nonce: sent.data.nonce }));
        assert.equal(desk.room.log.length + desk.room.outbox.length, 1, order.join());
      }
      assert.deepEqual(desk.room.outbox, []);
    }
  });

  it('unanswered_send_is_sent_again_with_its_nonce_unless_the_replay_has_it', () => {
    for (const stored of [true, false]) {
      const desk = new Desk().connect().enter();
      desk.session.send('general', 'a', 0);
      const [sent] = desk.take();
      desk.session.closed(1006, '', 0);
      desk.session.tick(500);
      desk.arrive();
      const [join] = desk.take();
      desk.answer('ack', { room: 'general', epoch: 'e1', head: Number(stored) }, join.id);
      if (stored) desk.history({ messages: [message(1, { user: 'alice', nonce: sent.data.nonce })], head: 1 });
      const again = desk.take();
      assert.ok(again.every(({ data }) => data.nonce === sent.data.nonce));
      if (!stored) assert.equal(again.length, 1);
      assert.equal(desk.room.log.length + desk.room.outbox.length, 1);
    }
  });

  it('rate_limited_send_waits_as_long_as_told', () => {
    const desk = new Desk().connect().enter();
    desk.session.heartbeatMs = 60_000;
    desk.session.send('general', 'a', 0);
    const [sent] = desk.take();
    desk.answer('error', { code: 'rate_limited', message: 'slow', retryAfterMs: 700 }, sent.id);
    assert.equal(desk.effects('notice').length, 1);
    assert.equal(desk.session.wakeAt(), 700);
    desk.session.tick(699);
    assert.deepEqual(desk.take(), []);
    desk.session.tick(700);
    assert.deepEqual(desk.take().map(({ data }) => data.nonce), [sent.data.nonce]);
  });

  it('refused_send_stays_until_a_person_decides_and_holds_nobody_up', () => {
    const desk = new Desk().connect().enter();
    desk.session.send('general', 'a', 0);
    desk.session.send('general', 'b', 0);
    const [sent] = desk.take();
    desk.answer('error', { code: 'nonce_conflict', message: 'no' }, sent.id);
    assert.deepEqual(desk.room.outbox.map(({ state }) => state), ['failed', 'sent']);
    desk.session.discard('general', sent.data.nonce);
    assert.equal(desk.room.outbox.length, 1);
  });

  it('lost_subscription_is_joined_again_before_sending', () => {
    const desk = new Desk().connect().enter(2);
    desk.session.send('general', 'a', 0);
    const [sent] = desk.take();
    desk.answer('error', { code: 'not_subscribed', message: 'no' }, sent.id);
    desk.caughtUp(2);
    assert.deepEqual(desk.take().map(({ data }) => data.nonce), [sent.data.nonce]);
  });

  it('content_is_measured_in_bytes', () => {
    const { session } = new Desk().connect();
    assert.equal(session.refusal('ten bytes.'), null);
    assert.equal(session.refusal('éééééé'), 'Too long by 2 bytes.');
    assert.equal(session.refusal(' \n'), 'empty');
  });

  it('later_page_sends_what_an_earlier_one_could_not', () => {
    const desk = new Desk().connect().enter();
    desk.session.closed(1006, '', 0);
    desk.session.send('general', 'kept', 0);
    const state = { saved: desk.session.saved(), tab: desk.session.tab(), unsent: desk.session.unsent() };
    const later = new Desk(JSON.parse(JSON.stringify(state)));
    assert.equal(later.session.resume, 's1');
    assert.equal(later.session.active, 'general');
    later.connect();
    later.caughtUp(0);
    assert.deepEqual(later.take().map(({ data }) => data.content), ['kept']);
  });
});

describe('reading', () => {
  it('unread_counts_from_the_last_seen_and_the_line_stands_before_the_first', () => {
    const desk = new Desk().connect().enter(3);
    assert.equal(desk.room.unread, 0, 'what a first visit is shown is not new');
    desk.room.setReading(true);
    desk.answer('message', message(4));
    assert.equal(desk.room.unread, 0);
    desk.room.setReading(false);
    desk.answer('message', message(5));
    desk.answer('message', message(6));
    assert.deepEqual([desk.session.unread, desk.room.marker], [2, 4]);
    desk.room.setReading(true);
    assert.deepEqual([desk.session.unread, desk.room.marker], [0, 4]);
  });

  it('own_message_means_having_read', () => {
    const desk = new Desk().connect().enter(1);
    desk.answer('message', message(2));
    desk.session.send('general', 'a', 0);
    assert.equal(desk.room.unread, 0);
    desk.answer('message', message(3));
    assert.deepEqual([desk.room.unread, desk.room.marker], [1, 2]);
    desk.answer('message', message(4, { user: 'alice', nonce: 'n1' }));
    assert.deepEqual([desk.room.unread, desk.room.marker], [0, null]);
  });

  it('reading_position_is_kept_across_visits_in_the_same_epoch', () => {
    for (const [epoch, unread] of [['e1', 2], ['e0', 0]]) {
      const saved = { user: 'alice', active: 'general', rooms: [{ name: 'general', epoch, read: 3 }] };
      const desk = new Desk({ saved }).connect();
      desk.caughtUp(5);
      assert.equal(desk.room.unread, unread);
    }
  });
});

describe('people', () => {
  it('presence_and_status_keep_the_member_list', () => {
    const desk = new Desk().connect().enter();
    const users = [{ user: 'alice', status: 'online' }, { user: 'bob', status: 'away' }];
    desk.answer('presence', { room: 'general', users, count: 2 });
    desk.answer('status', { room: 'general', user: 'bob', status: 'offline' });
    assert.deepEqual([...desk.room.members], [['alice', 'online'], ['bob', 'offline']]);
    assert.equal(desk.room.count, 2);
  });

  it('typing_is_told_at_most_every_three_seconds_and_ended_when_idle', () => {
    const desk = new Desk().connect().enter();
    desk.session.heartbeatMs = 60_000;
    for (const now of [0, 1_000, 2_000, 3_000]) desk.session.typing('general', now);
    assert.deepEqual(desk.take().map(({ isTyping }) => isTyping), [true, true]);
    assert.equal(desk.session.wakeAt(), 7_000);
    desk.session.tick(7_000);
    assert.deepEqual(desk.take().map(({ isTyping }) => isTyping), [false]);
  });

  it('typing_of_others_expires_and_ends_with_their_message', () => {
    const desk = new Desk().connect().enter();
    desk.answer('typing', { room: 'general', user: 'bob', isTyping: true });
    desk.answer('typing', { room: 'general', user: 'carol', isTyping: true });
    desk.answer('message', message(1));
    assert.deepEqual([...desk.room.typing.keys()], ['carol']);
    desk.session.heartbeatMs = 60_000;
    desk.session.tick(7_000);
    assert.equal(desk.room.typing.size, 0);
  });

  it('too_many_rooms_is_said_and_not_tried', () => {
    const desk = new Desk().connect();
    for (const name of ['a', 'b', 'c', 'd']) desk.session.join(name, 0);
    assert.equal(desk.session.rooms.size, 3);
    assert.equal(desk.effects('notice').length, 1);
  });

  it('refused_room_is_taken_off_the_list', () => {
    const desk = new Desk().connect();
    desk.session.join('bad', 0);
    desk.answer('error', { code: 'bad_room', message: 'no' }, desk.take()[0].id);
    assert.equal(desk.session.rooms.has('bad'), false);
  });
});

describe('changes', () => {
  const change = (sequence, kind, target, content = '') => message(sequence, { kind, target, content });

  it('changes the message it is about, and keeps its own place in the log without a line', () => {
    const room = new Room('general');
    messages(1, 3).forEach((each) => room.append(each));
    room.append(change(4, 'edit', 2, 'better'));
    room.append(change(5, 'delete', 3));
    assert.deepEqual(sequences(room), [1, 2, 3, 4, 5]);
    assert.equal(room.log[1].content, 'better');
    assert.equal(room.log[1].edited.sequence, 4);
    assert.equal(room.log[2].content, '');
    assert.equal(room.log[2].deleted.sequence, 5);
    const rows = rowsOf(room, { from: 0, to: 5, isTail: true, self: 'alice', now: 0 });
    assert.deepEqual(rows.filter(({ kind }) => kind === 'message').map(({ key }) => key), [1, 2, 3]);
    assert.ok(!rows.some(({ kind }) => kind === 'gap'), 'a change is no gap');
  });

  it('passes over a change that the history already has, or whose message is not here', () => {
    const room = new Room('general');
    room.append(message(6, { content: 'newest', edited: { sequence: 9, timestamp: 9_000 } }));
    room.append(change(7, 'edit', 6, 'older'));
    room.append(change(8, 'edit', 2, 'not here'));
    room.append(change(9, 'edit', 6, 'newest'));
    assert.equal(room.log[0].content, 'newest');
    assert.equal(room.log[0].edited.sequence, 9);
  });
});

describe('rows', () => {
  const kinds = (room, fields = {}) =>
    rowsOf(room, { from: 0, to: room.log.length, isTail: true, self: 'alice', now: 0, ...fields }).map(({ kind, isHead }) => (isHead ? 'head' : kind));

  it('messages_of_one_sender_within_five_minutes_share_a_heading', () => {
    const room = new Room('general');
    const minute = 60_000;
    room.log = [message(1, { timestamp: 0 }), message(2, { timestamp: 4 * minute }), message(3, { timestamp: 10 * minute }), message(4, { user: 'eve', timestamp: 10 * minute })];
    assert.deepEqual(kinds(room), ['start', 'day', 'head', 'message', 'head', 'head']);
  });

  it('announcements_share_a_line_and_stand_where_they_happened', () => {
    const room = new Room('general');
    room.log = messages(1, 2);
    for (const user of ['carol', 'dave']) room.aside({ sequence: 1, kind: 'join', content: `${user} joined the room`, subject: user, timestamp: 0 });
    assert.deepEqual(kinds(room), ['start', 'day', 'head', 'aside', 'head']);
    assert.equal(asideText(room.asides, 'dave'), 'You and carol joined');
  });

  it('unsent_messages_stand_at_the_end_only', () => {
    const room = new Room('general');
    room.log = messages(1, 3);
    room.outbox = [{ nonce: 'n', content: 'x', at: 3_500, state: 'waiting' }];
    assert.equal(kinds(room).at(-1), 'head');
    assert.equal(kinds(room, { to: 2, isTail: false }).length, 4);
  });
});
