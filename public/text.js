/**
 * Message text as nodes.
 *
 * Owns: the little markup that messages have, and what mentions a name. `parse` and `mentioned` are pure, so the tests
 * run them in Node. Must never know: where a message stands.
 */

import { make } from './dom.js';

const WORD = '[\\p{L}\\p{N}_]';

// Where an alternative fails it has read no further than to where it is tried next: the time is linear, whatever is sent.
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
const TAGS = { code: 'code', bold: 'strong', italic: 'em' };

/** How much of `url` is the address: not the punctuation after it, nor a bracket that was opened before it. */
function lengthOfUrl(url) {
  const unopened = {};
  for (const [open, close] of ['()', '[]', '{}']) unopened[close] = url.split(close).length - url.split(open).length;
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
  const plain = (to) => to > end && parts.push({ kind: 'text', text: content.slice(end, to) });
  for (const { 0: whole, index, ...groups } of content.matchAll(MARKUP)) {
    const at = KINDS.findIndex((_, group) => groups[group + 1] !== undefined);
    const kind = KINDS[at];
    const isLink = kind === 'link';
    const found = isLink ? whole.slice(0, lengthOfUrl(whole)) : whole;
    if (isLink && found.endsWith('//')) continue;
    plain(index);
    parts.push(isLink ? { kind, text: found, href: found } : { kind, text: groups[at + 1] });
    end = index + found.length;
  }
  plain(content.length);
  return parts;
}

/**
 * Splits `text` into what does not mention `name` and, at every odd index, what does: `ada` as a word of its own, as in
 * “@Ada:” and “ada’s”, but not in “adapt” or “ada-2”.
 */
export function mentioned(text, name) {
  const literal = name.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
  return text.split(new RegExp(`(?<!${WORD}[-.@]?)(@?${literal})(?![-.]?${WORD})`, 'iu'));
}

/** Whether `content` mentions `name`, outside of code and links. */
export const mentions = (content, name) =>
  parse(content).some(({ kind, text }) => ['text', 'bold', 'italic'].includes(kind) && mentioned(text, name).length > 1);

function nodesOf({ kind, text, href }, self) {
  if (kind === 'link') return make('a', '', text, { href, target: '_blank', rel: 'noopener noreferrer' });
  if (kind === 'block') return make('pre', '', text, { tabIndex: 0 }); // what scrolls has to be in reach of the keyboard
  if (kind !== 'text') return make(TAGS[kind], '', kind === 'code' ? text : rich(text, self));
  return self ? mentioned(text, self).map((part, index) => (index % 2 ? make('mark', 'mention', part) : part)) : text;
}

/** Message text as nodes. What mentions `self` is marked; null marks nothing. */
export const rich = (content, self = null) => parse(content).flatMap((part) => nodesOf(part, self));
