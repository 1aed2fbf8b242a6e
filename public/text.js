/**
 * Message text as nodes.
 *
 * Owns: the little markup that messages have. Must never know: where a message stands.
 */

import { make } from './dom.js';

const INLINE = /```\n?([\s\S]+?)```|`([^`\n]+)`|\*\*([^*\n]+)\*\*|(?<![\w*])\*([^*\s][^*\n]*)\*(?![\w*])|(https?:\/\/[^\s<>"']+)/g;

/** Message text as nodes: code, bold, italic and http(s) links; everything else stays the text it is. */
export function rich(content) {
  const nodes = [];
  let end = 0;
  for (const match of content.matchAll(INLINE)) {
    const [whole, block, code, bold, italic, url] = match;
    let node;
    let length = whole.length;
    if (block !== undefined) node = make('pre', '', block, { tabIndex: 0 }); // what scrolls has to be in reach of the keyboard
    else if (code !== undefined) node = make('code', '', code);
    else if (bold !== undefined) node = make('strong', '', bold);
    else if (italic !== undefined) node = make('em', '', italic);
    else {
      const href = url.replace(/[.,;:!?)\]}]+$/, '');
      length = href.length;
      node = make('a', '', href, { href, target: '_blank', rel: 'noopener noreferrer' });
    }
    nodes.push(content.slice(end, match.index), node);
    end = match.index + length;
  }
  nodes.push(content.slice(end));
  return nodes.filter((node) => node !== '');
}
