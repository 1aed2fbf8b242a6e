// What the page's protocol does with accounts, private conversations and changes of messages. No browser.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Desk, message, rowsOf } from './desk.js';

/** Answers the `hello` that was just sent as the account `alice`. */
function logIn(desk, fields = {}) {
  desk.answer('connected', { user: 'alice', session: 's1', role: 'member', rooms: [], direct: [], ...fields });
  return desk;
}

/** A desk at which alice is logged in. */
function account(fields, options) {
  const desk = new Desk(options);
  desk.session.start('alice', 0, 'rl_token');
  desk.session.drain();
  desk.session.opened(0);
  desk.answer('connected', { user: 'user_1', session: 's0' });
  const [hello] = desk.take();
  assert.deepEqual([hello.type, hello.token, hello.user], ['hello', 'rl_token', undefined]);
  return logIn(desk, fields);
}

const names = (desk) => [...desk.session.rooms.keys()];

describe('login', () => {
  it('token_is_said_in_hello_and_never_in_the_url', () => {
    const desk = new Desk();
    desk.session.start('alice', 0, 'rl_token');
    assert.deepEqual(desk.session.drain(), [{ connect: null }]);
  });

  it('resumed_login_says_nothing_again', () => {
    const desk = account();
    desk.session.closed(1006, '', 0);
    desk.session.tick(500);
    assert.deepEqual(desk.effects('connect'), [{ connect: 's1' }]);
    desk.session.opened(500);
    logIn(desk);
    assert.deepEqual(desk.take(), []);
    assert.ok(desk.session.isConnected);
  });

  it('guest_that_resumes_as_an_account_says_its_name_again', () => {
    const desk = new Desk();
    desk.session.start('alice', 0);
    desk.session.drain();
    desk.session.opened(0);
    logIn(desk);
    assert.deepEqual(desk.take().map(({ type, user }) => [type, user]), [['hello', 'alice']]);
  });

  it('token_that_is_not_good_any_more_asks_for_a_login', () => {
    const desk = new Desk();
    desk.session.start('alice', 0, 'rl_old');
    desk.session.drain();
    desk.session.opened(0);
    desk.answer('connected', { user: 'user_1', session: 's0' });
    desk.answer('error', { code: 'bad_token', message: 'no' }, desk.take()[0].id);
    assert.equal(desk.effects('askLogin').length, 1);
    assert.equal(desk.session.saved().token, null);
  });

  it('close_4500_asks_for_a_login_and_keeps_rooms_and_unsent_messages', () => {
    const desk = account({ rooms: ['general'] });
    desk.session.closed(4500, 'over', 0);
    desk.session.send('general', 'later', 0);
    assert.equal(desk.effects('askLogin').length, 1);
    assert.equal(desk.session.link.phase, 'stopped');
    assert.equal(desk.session.wakeAt(), Infinity, 'it does not come back by itself');
    desk.session.start('alice', 0, 'rl_new');
    desk.arrive('user_2');
    logIn(desk, { rooms: ['general'] });
    desk.caughtUp(0);
    assert.deepEqual(desk.take().map(({ data }) => data?.content), ['later']);
  });

  it('logout_gives_the_token_back_and_forgets_private_conversations', () => {
    const desk = account({ rooms: ['general'], direct: [{ room: '@dm:1-2', user: 'bob' }] });
    desk.session.drain();
    desk.session.logout();
    assert.deepEqual(desk.session.drain(), [{ revoke: 'rl_token' }, { disconnect: true }, { askName: null }]);
    assert.deepEqual(names(desk), ['general']);
    assert.deepEqual(desk.session.saved().rooms[0].isKept, false);
    assert.deepEqual([desk.session.user, desk.session.token, desk.session.link.phase], [null, null, 'idle']);
  });
});

describe('rooms of an account', () => {
  const keeps = (desk) => desk.session.drain().flatMap(({ keep }) => keep ?? []);

  it('rooms_joined_elsewhere_are_joined_and_rooms_left_elsewhere_are_left', () => {
    const rooms = [
      { name: 'old', epoch: 'e', read: 1, isKept: true },
      { name: 'mine', epoch: 'e', read: 1, isKept: true },
    ];
    const desk = account({ rooms: ['mine', 'new'] }, { saved: { user: 'alice', token: 'rl_token', rooms } });
    assert.deepEqual(names(desk), ['mine', 'new']);
    assert.deepEqual(desk.take().filter(({ type }) => type === 'join').map(({ room }) => room), ['mine', 'new']);
  });

  it('what_the_account_does_not_know_yet_is_told_until_it_does', () => {
    const desk = new Desk();
    desk.session.join('general', 0);
    desk.session.start('alice', 0, 'rl_token');
    desk.session.drain();
    desk.session.opened(0);
    logIn(desk);
    assert.deepEqual(keeps(desk), ['general'], 'a guest’s rooms become the account’s');
    desk.session.kept('general');
    desk.session.join('random', 0);
    assert.deepEqual(keeps(desk), ['random']);
    desk.session.closed(1006, '', 0);
    desk.session.tick(500);
    desk.session.opened(500);
    logIn(desk, { rooms: ['general'] });
    assert.deepEqual(keeps(desk), ['random'], 'the first time it may have failed');
  });

  it('room_left_without_a_connection_does_not_come_back', () => {
    const desk = account({ rooms: ['general', 'random'] });
    desk.session.closed(1006, '', 0);
    desk.session.leave('random');
    const saved = JSON.parse(JSON.stringify(desk.session.saved()));
    const later = account({ rooms: ['general', 'random'] }, { saved });
    assert.deepEqual(names(later), ['general']);
    assert.deepEqual(later.effects('forget'), [{ forget: 'random' }]);
    later.session.forgotten('random');
    assert.deepEqual(later.session.saved().left, []);
  });

  it('rooms_beyond_the_limit_of_a_connection_are_not_joined', () => {
    const limits = { roomsPerConnection: 2 };
    const desk = account({ rooms: ['a', 'b', 'c'], direct: [{ room: '@dm:1-2', user: 'bob' }], limits });
    assert.deepEqual(names(desk), ['a', 'b']);
  });
});

describe('private conversations', () => {
  const dm = '@dm:1-2';
  const toAlice = (sequence, fields) => ({
    id: `e:${sequence}`, from: 'bob', to: 'alice', content: `psst ${sequence}`, timestamp: 1, room: dm, sequence, ...fields,
  });

  it('first_word_of_somebody_opens_the_conversation_and_is_unread', () => {
    const desk = account();
    desk.session.drain();
    desk.answer('private', toAlice(1));
    const room = desk.session.rooms.get(dm);
    assert.deepEqual([room.peer, room.title], ['bob', 'bob']);
    const [join] = desk.take();
    assert.deepEqual([join.type, join.room, join.since], ['join', dm, undefined]);
    desk.answer('ack', { room: dm, epoch: 'e1', head: 1 }, join.id);
    desk.answer('history', { room: dm, messages: [message(1, { room: dm })], epoch: 'e1', floor: 1, head: 1, more: false });
    assert.equal(room.unread, 1);
    desk.answer('private', toAlice(1));
    assert.equal(room.log.length, 1);
  });

  it('what_came_while_the_account_was_away_is_unread_but_not_on_a_first_login', () => {
    const direct = [{ room: dm, user: 'bob' }];
    for (const [saved, unread] of [[{ user: 'alice', token: 'rl_token', rooms: [] }, 2], [{}, 0]]) {
      const desk = account({ direct }, { saved });
      const [join] = desk.take();
      desk.answer('ack', { room: dm, epoch: 'e1', head: 2 }, join.id);
      const history = [message(1, { room: dm }), message(2, { room: dm })];
      desk.answer('history', { room: dm, messages: history, epoch: 'e1', floor: 1, head: 2, more: false });
      assert.equal(desk.session.rooms.get(dm).unread, unread);
    }
  });

  it('conversation_that_began_during_an_outage_is_unread', () => {
    const desk = account();
    desk.session.closed(1006, '', 0);
    desk.session.tick(500);
    desk.session.opened(500);
    logIn(desk, { direct: [{ room: dm, user: 'bob' }] });
    assert.equal(desk.session.rooms.get(dm).read, 0);
  });

  it('first_own_word_finds_the_log_that_holds_it', () => {
    const desk = account();
    desk.session.drain();
    desk.session.talkTo('bob');
    desk.session.send(desk.session.active, 'psst', 0);
    const [sent] = desk.take();
    assert.deepEqual([sent.type, sent.to, sent.content], ['private', 'bob', 'psst']);
    desk.answer('ack', { room: dm, sequence: 1, id: 'e:1', timestamp: 1 }, sent.id);
    assert.deepEqual([names(desk), desk.session.active], [[dm], dm]);
    const [join] = desk.take();
    desk.answer('ack', { room: dm, epoch: 'e1', head: 1 }, join.id);
    const own = message(1, { room: dm, user: 'alice', nonce: sent.nonce });
    desk.answer('history', { room: dm, messages: [own], epoch: 'e1', floor: 1, head: 1, more: false });
    const room = desk.session.rooms.get(dm);
    assert.deepEqual([room.log.length, room.outbox, room.unread], [1, [], 0]);
    desk.session.talkTo('bob');
    assert.equal(desk.session.active, dm, 'there is one conversation with somebody');
    desk.session.send(dm, 'more', 0);
    assert.deepEqual(desk.take().map(({ type, data }) => [type, data.room]), [['message', dm]]);
  });

  it('conversation_with_a_guest_is_shown_as_it_is_delivered_and_not_saved', () => {
    const desk = new Desk().connect();
    desk.session.talkTo('bob');
    const { active } = desk.session;
    desk.session.send(active, 'psst', 0);
    const [sent] = desk.take();
    desk.answer('ack', {}, sent.id);
    desk.answer('private', { id: '~1', from: 'alice', to: 'bob', content: 'psst', timestamp: 1, nonce: sent.nonce });
    desk.answer('private', { id: '~2', from: 'bob', to: 'alice', content: 'yes?', timestamp: 2 });
    const { room } = desk.session;
    assert.deepEqual(room.log.map(({ user, content }) => [user, content]), [['alice', 'psst'], ['bob', 'yes?']]);
    assert.deepEqual([room.outbox, room.unread], [[], 1]);
    assert.deepEqual(desk.session.saved().rooms, []);
    assert.ok(!desk.session.may('edit', room, room.log[0]), 'there is no log in which to change it');
  });

  it('message_to_a_guest_that_may_have_arrived_is_not_sent_twice', () => {
    const desk = new Desk().connect();
    desk.session.talkTo('bob');
    desk.session.send(desk.session.active, 'on its way', 0);
    desk.session.send(desk.session.active, 'not yet', 0);
    const [sent] = desk.take();
    desk.session.closed(1006, '', 0);
    desk.session.tick(500);
    desk.arrive();
    assert.deepEqual(desk.take().map(({ content }) => content), ['not yet']);
    const { room } = desk.session;
    assert.match(room.outbox[0].why, /may have arrived/);
    desk.session.resend(room.name, sent.nonce, 0);
    desk.answer('ack', {}, desk.session.nextId - 1);
    assert.deepEqual(desk.take().map(({ nonce }) => nonce), [sent.nonce], 'unless somebody says so');
  });

  it('nobody_to_receive_it_is_said_at_the_message', () => {
    const desk = new Desk().connect();
    desk.session.talkTo('ghost');
    desk.session.send(desk.session.active, 'hello?', 0);
    desk.answer('error', { code: 'no_such_user', message: 'Nobody of this name is here' }, desk.take()[0].id);
    assert.deepEqual(desk.session.room.outbox.map(({ state, why }) => [state, why]), [['failed', 'Nobody of this name is here']]);
  });

  it('closed_conversation_stays_closed_until_something_is_said', () => {
    const direct = [{ room: dm, user: 'bob' }];
    const desk = account({ direct });
    desk.session.leave(dm);
    desk.session.drain();
    desk.session.closed(1006, '', 0);
    desk.session.tick(500);
    desk.session.opened(500);
    logIn(desk, { direct });
    assert.deepEqual(names(desk), []);
    desk.answer('private', toAlice(3));
    assert.deepEqual(names(desk), [dm]);
  });

  it('nobody_talks_to_themselves', () => {
    const desk = account();
    desk.session.talkTo('alice');
    assert.deepEqual(names(desk), []);
  });

  it('members_of_a_conversation_are_the_two_with_what_is_known_of_them', () => {
    const desk = account({ rooms: ['general'] });
    desk.answer('presence', { room: 'general', users: [{ user: 'bob', status: 'away' }], count: 1 });
    desk.session.talkTo('bob');
    assert.deepEqual([...desk.session.membersOf(desk.session.room)], [['alice', 'online'], ['bob', 'away']]);
  });
});

describe('unsent', () => {
  it('what_somebody_else_could_not_send_is_not_sent_in_ones_own_name', () => {
    const saved = { user: 'alice', rooms: [{ name: 'general' }] };
    const entry = { room: 'general', nonce: 'n', content: 'x', at: 0, state: 'waiting' };
    const desk = new Desk({ saved, unsent: [{ ...entry, user: 'bob' }] });
    assert.deepEqual(desk.session.room.outbox, []);
  });
});

describe('changes on their way', () => {
  const said = (desk) => {
    desk.answer('message', message(1, { user: 'alice' }));
    return desk;
  };
  const rows = (desk) => rowsOf(desk.room, { from: 0, to: desk.room.log.length, isTail: true, self: 'alice', now: 0 });

  it('edit_is_shown_at_its_message_until_the_log_has_it', () => {
    const desk = said(new Desk().connect().enter());
    desk.session.edit('general', 1, 'better', 0);
    const [sent] = desk.take();
    assert.deepEqual([sent.type, sent.sequence, sent.content, sent.nonce], ['edit', 1, 'better', 'n1']);
    const shown = rows(desk).filter(({ kind }) => kind === 'message' || kind === 'pending');
    assert.deepEqual(shown.map(({ kind, change }) => [kind, change.content]), [['message', 'better']]);
    assert.equal(desk.room.log[0].content, 'line 1', 'what the log holds is not touched');
    desk.answer('ack', { room: 'general', sequence: 2 }, sent.id);
    desk.answer('message', message(2, { user: 'alice', kind: 'edit', target: 1, content: 'better', nonce: 'n1' }));
    assert.deepEqual([desk.room.outbox, desk.room.log[0].content], [[], 'better']);
  });

  it('unanswered_edit_is_sent_again_with_its_nonce', () => {
    const desk = said(new Desk().connect().enter());
    desk.session.edit('general', 1, 'better', 0);
    const [sent] = desk.take();
    desk.session.closed(1006, '', 0);
    desk.session.tick(500);
    desk.arrive();
    desk.caughtUp(1);
    assert.deepEqual(desk.take().map(({ type, nonce }) => [type, nonce]), [['edit', sent.nonce]]);
  });

  it('deletion_that_was_done_already_is_done', () => {
    const desk = said(new Desk().connect().enter());
    desk.session.delete('general', 1, 0);
    const [sent] = desk.take();
    assert.deepEqual([sent.type, sent.sequence], ['delete', 1]);
    desk.answer('error', { code: 'no_such_message', message: 'no' }, sent.id);
    assert.deepEqual([desk.room.outbox, desk.effects('notice')], [[], []]);
  });

  it('deletion_is_done_whoever_did_it', () => {
    const desk = said(new Desk().connect().enter());
    desk.session.delete('general', 1, 0);
    desk.answer('message', message(2, { user: 'mod', kind: 'delete', target: 1, content: '' }));
    assert.deepEqual(desk.room.outbox, []);
  });

  it('own_messages_can_be_changed_and_those_of_others_by_administrators_deleted', () => {
    const desk = account({ rooms: ['general'], role: 'admin' });
    const room = desk.session.rooms.get('general');
    const may = (fields) => ['edit', 'delete'].filter((what) => desk.session.may(what, room, message(1, fields)));
    assert.deepEqual(may({ user: 'alice' }), ['edit', 'delete']);
    assert.deepEqual(may({ user: 'bob' }), ['delete']);
    assert.deepEqual(may({ user: 'alice', deleted: { sequence: 2 } }), []);
    desk.session.role = 'member';
    assert.deepEqual(may({ user: 'bob' }), []);
  });
});

describe('away', () => {
  it('what_was_chosen_by_hand_is_not_undone_by_looking_at_the_page', () => {
    const desk = new Desk().connect();
    desk.session.setAway(true, true);
    desk.session.setAway(false);
    assert.ok(desk.session.isAway);
    desk.session.setAway(false, true);
    assert.deepEqual(desk.take().map(({ status }) => status), ['away', 'online']);
  });
});
