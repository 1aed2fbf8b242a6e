// What a message's text means: pure, in Node.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { importPage } from './harness.js';

const { mentioned, mentions, parse } = await importPage();

/** The parts in short: a plain string is text, [kind, text] anything else; a link's address is the text it shows. */
const short = (content) =>
  parse(content).map(({ kind, text, href }) => {
    assert.equal(href, kind === 'link' ? text : undefined);
    return kind === 'text' ? text : [kind, text];
  });

const CONTENT_BYTES = 4_096; // the most that a message may have

describe('text', () => {
  it('marks_bold_italic_code_blocks_and_links', () => {
    assert.deepEqual(short('a **b c** d'), ['a ', ['bold', 'b c'], ' d']);
    assert.deepEqual(short('*a* and _b c_'), [['italic', 'a'], ' and ', ['italic', 'b c']]);
    assert.deepEqual(short('run `ls -l`!'), ['run ', ['code', 'ls -l'], '!']);
    assert.deepEqual(short('so:\n```\none\n\ntwo\n```\nthen'), ['so:\n', ['block', 'one\n\ntwo'], 'then']);
    assert.deepEqual(short('```one```'), [['block', 'one']]);
    assert.deepEqual(short('see http://a.b/c?d=e#f'), ['see ', ['link', 'http://a.b/c?d=e#f']]);
    assert.deepEqual(short(''), []);
  });

  it('leaves_what_is_not_markup_as_it_is', () => {
    const plain = [
      '2 * 3 * 4', '2*3*4', '* a *', '** a **', '**', '****', '*a', 'a_b_c', '_a_b', 'a_b_ c', 'snake_case_name and other_name', '__init__',
      '_ a _', '*a\nb*', '`a\nb`', '``', '```', '``````', 'https://', 'https://.', 'xhttps://a.b', 'javascript:alert(1)',
      'ftp://a.b', '<b>a</b>', '[a](b)', '&amp;',
    ];
    for (const content of plain) assert.deepEqual(short(content), [content]);
  });

  it('keeps_underscores_inside_the_words_of_italic_text', () => {
    assert.deepEqual(short('_the snake_case one_.'), [['italic', 'the snake_case one'], '.']);
    assert.deepEqual(short('_a_ _b_'), [['italic', 'a'], ' ', ['italic', 'b']]);
    assert.deepEqual(short('Größe_ß_x'), ['Größe_ß_x']);
  });

  it('means_nothing_inside_code', () => {
    assert.deepEqual(short('`**a** _b_ https://c.d`'), [['code', '**a** _b_ https://c.d']]);
    assert.deepEqual(short('```\n`a` *b*\n```'), [['block', '`a` *b*']]);
  });

  it('ends_a_link_before_punctuation_and_brackets_that_it_did_not_open', () => {
    const wiki = 'https://en.wikipedia.org/wiki/Rust_(x)';
    assert.deepEqual(short(wiki), [['link', wiki]]);
    assert.deepEqual(short(`(see ${wiki}).`), ['(see ', ['link', wiki], ').']);
    assert.deepEqual(short('https://a.b/c, then'), [['link', 'https://a.b/c'], ', then']);
    assert.deepEqual(short('“https://a.b/?q=1!?”'), ['“', ['link', 'https://a.b/?q=1'], '!?”']);
    assert.deepEqual(short('[https://a.b/[c]d]'), ['[', ['link', 'https://a.b/[c]d'], ']']);
    assert.deepEqual(short('<https://a.b>'), ['<', ['link', 'https://a.b'], '>']);
    assert.deepEqual(short("'https://a.b'"), ["'", ['link', 'https://a.b'], "'"]);
    assert.deepEqual(short('https://a.b/_c_d_'), [['link', 'https://a.b/_c_d_']]);
  });

  it('loses_nothing_and_ends_whatever_is_sent', () => {
    const marks = ['*', '**', '* ', '*a ', '**a', '_', '_a ', '_a', 'a_', '`', '``', '```', '```a', '`\n', '(', '[', ')', 'http://', 'https://a)'];
    for (const mark of marks) {
      for (const tail of ['', 'a', '\n', ')a']) {
        const content = mark.repeat(CONTENT_BYTES / mark.length) + tail;
        const shown = parse(content).map(({ text }) => text).join('');
        const without = (text) => text.replace(/[*_`\n]/g, '');
        assert.equal(without(shown), without(content), JSON.stringify(mark + tail));
      }
    }
    assert.deepEqual(short('*'.repeat(CONTENT_BYTES)), ['*'.repeat(CONTENT_BYTES)]);
    const closing = ')'.repeat(CONTENT_BYTES);
    assert.deepEqual(short(`https://a${closing}`), [['link', 'https://a'], closing]);
    assert.deepEqual(short(`https://a${closing}b`), [['link', `https://a${closing}b`]]);
  });
});

describe('mentions', () => {
  it('are_the_name_as_a_word_of_its_own_in_any_case', () => {
    for (const content of ['ada', 'Ada: hi', 'hi @ADA!', 'ask ada.', 'ada’s', '(ada)', '**ada** look', 'bob,ada']) {
      assert.ok(mentions(content, 'ada'), content);
    }
    for (const content of ['adapt', 'Canada', 'ada-2', 'ada.l', 'x-ada', 'me@ada.org', 'ada_b', '`ada`', '```ada```', 'https://a.b/ada']) {
      assert.ok(!mentions(content, 'ada'), content);
    }
  });

  it('work_for_names_of_any_script_and_with_any_sign', () => {
    assert.ok(mentions('привет, ЁЖИК', 'ёжик'));
    assert.ok(mentions('hi a.b+c (d), ok', 'A.b+C (D)'));
    assert.ok(!mentions('hi axb', 'a.b'));
  });

  it('are_told_apart_from_the_text_around_them', () => {
    assert.deepEqual(mentioned('@ada, ada or adam', 'ada'), ['', '@ada', ', ', 'ada', ' or adam']);
  });
});
