/**
 * Message text as nodes.
 *
 * Owns: the little markup that messages have, and what mentions a name. `parse` and `mentioned` are pure, so the tests
 * run them in Node. Must never know: where a message stands.
 */

import { make } from './dom.js';

const WORD = '[\\p{L}\\p{N}_]';

/*
 * Each alternative, where it fails, has read only up to the next mark of its own kind, and that is where it is tried
 * next: so the time is linear in the content, whatever is sent. (Two fences make a block, so at most the last few fail.)
 */
const MARKUP = new RegExp(
  [
    '```\\n?([^]+?)\\n?```\\n?',
    '`([^`\\n]+)`',
    '\\*\\*(?!\\s)([^*\\n]+)(?<!\\s)\\*\\*',
    `(?<!${WORD}|\\*)\\*(?!\\s)([^*\\n]+)(?<!\\s)\\*(?!${WORD}|\\*)`,
    `(?<!${WORD})_(?![\\s_])((?:[^_\\n]|(?<=${WORD})_(?=[\\p{L}\\p{N}]))+)(?<!\\s)_(?!${WORD})`, // not snake_case
    `(?<!${WORD})(https?://[^\\s<>"\`]+)`,
  ].join('|'),
  'gu',
);
const KINDS = ['block', 'code', 'bold', 'italic', 'italic', 'link'];
const TAGS = { block: 'pre', code: 'code', bold: 'strong', italic: 'em' };

const count = (text, character) => text.split(character).length - 1;

/** How much of `url` is the address: not the punctuation after it, nor a bracket that was opened before it. */
function lengthOfUrl(url) {
  const unopened = Object.fromEntries(['()', '[]', '{}'].map(([open, close]) => [close, count(url, close) - count(url, open)]));
  let end = url.length;
  for (; /[.,;:!?…'"’”»)\]}]/.test(url[end - 1]); end -= 1) {
    const last = url[end - 1];
    if (unopened[last] <= 0) break;
    if (last in unopened) unopened[last] -= 1;
  }
  return end;
}

/**
 * `content` as a sequence of {kind, text, href?}: block, code, bold, italic, link, and text, which is everything else.
 * The text of bold and italic may hold more of the same.
 */
export function parse(content) {
  const parts = [];
  let end = 0;
  const text = (to) => to > end && parts.push({ kind: 'text', text: content.slice(end, to) });
  for (const match of content.matchAll(MARKUP)) {
    const group = match.findIndex((found, index) => index > 0 && found !== undefined);
    const kind = KINDS[group - 1];
    let length = match[0].length;
    const part = { kind, text: match[group] };
    if (kind === 'link') {
      length = lengthOfUrl(match[group]);
      part.text = match[group].slice(0, length);
      part.href = part.text;
      if (!/\/\/./.test(part.href)) continue;
    }
    text(match.index);
    parts.push(part);
    end = match.index + length;
  }
  text(content.length);
  return parts;
}

/** Finds `name` as a word of its own: `ada` in “@Ada:” and “ada’s”, but not in “adapt” or “ada-2”. */
const nameIn = (name) =>
  new RegExp(`(?<!${WORD}[-.@]?)@?${name.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')}(?![-.]?${WORD})`, 'giu');

/** Whether `content` mentions `name`, outside of code and links. */
export const mentions = (content, name) =>
  parse(content).some(({ kind, text }) => ['text', 'bold', 'italic'].includes(kind) && nameIn(name).test(text));

/** `text` as a sequence of {kind, text}: mention where it names `name`, and text. */
export function mentioned(text, name) {
  const parts = [];
  let end = 0;
  const add = (kind, from, to) => to > from && parts.push({ kind, text: text.slice(from, to) });
  for (const { 0: found, index } of text.matchAll(nameIn(name))) {
    add('text', end, index);
    end = index + found.length;
    add('mention', index, end);
  }
  add('text', end, text.length);
  return parts;
}

function nodesOf({ kind, text, href }, self) {
  if (kind === 'link') return make('a', '', text, { href, target: '_blank', rel: 'noopener noreferrer' });
  if (kind === 'bold' || kind === 'italic') return make(TAGS[kind], '', rich(text, self));
  if (kind !== 'text') return make(TAGS[kind], '', text);
  const parts = self ? mentioned(text, self) : [{ text }];
  return parts.map((part) => (part.kind === 'mention' ? make('mark', 'mention', part.text) : part.text));
}

/** Message text as nodes. What mentions `self` is marked; null marks nothing. */
export const rich = (content, self = null) => parse(content).flatMap((part) => nodesOf(part, self));
