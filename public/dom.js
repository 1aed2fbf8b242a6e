/**
 * Nodes. Text from others reaches the document through `textContent` only, and this is where.
 *
 * Owns: making elements, keeping a list of them in step with data, a name's colour and initials. Must never know: what
 * is shown.
 */

const TONES = 10; // avatar colours in style.css

export function toneOf(name) {
  let hash = 0;
  for (const char of name) hash = (hash * 31 + char.codePointAt(0)) >>> 0;
  return hash % TONES;
}

function initialsOf(name) {
  const words = name.split(/[\s._-]+/u).filter((word) => /^\p{L}/u.test(word));
  const letters = words.length > 1 ? [words[0], words[1]].map((word) => [...word][0]) : [...name].slice(0, 2);
  return letters.join('').toUpperCase();
}

/** An element with classes, properties and children. The only maker of nodes: strings become text, never markup. */
export function make(tag, className, children = [], properties = {}) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  Object.assign(element, properties);
  element.append(...[children].flat().filter((child) => child !== null));
  return element;
}

export const avatar = (user) => make('span', `avatar tone-${toneOf(user)}`, initialsOf(user), { ariaHidden: 'true' });

/** What in `element` can have the focus, and itself. */
const controlsOf = (element) => [element, ...element.querySelectorAll('a, button, [tabindex]')];

/** Focuses the control in `element` that stands where the old one stood. */
function focusAgain(element, at) {
  const controls = controlsOf(element);
  controls[Math.min(at, controls.length - 1)]?.focus({ preventScroll: true });
}

/** Where in `element` the focus is, counted in controls; -1 when it is elsewhere. */
const focusIn = (element) => controlsOf(element).indexOf(document.activeElement);

/**
 * Makes `parent` hold exactly `items`, reusing the element of each key while its `sign` stays the same. The focus is not
 * lost on the way: it goes to the new element of the same key, or to the neighbour of one that is gone.
 */
export function reconcile(parent, items, cache) {
  const keep = new Set(items.map((item) => item.key));
  let lost = null; // {index, at}: where the focus was, if on what is gone
  for (const [key, held] of cache) {
    if (keep.has(key)) continue;
    const at = focusIn(held.element);
    if (at >= 0) lost = { index: [...parent.children].indexOf(held.element), at };
    held.element.remove();
    cache.delete(key);
  }
  let at = parent.firstElementChild;
  for (const { key, sign, build } of items) {
    const held = cache.get(key);
    if (held?.sign === sign) {
      if (held.element === at) at = at.nextElementSibling;
      else parent.insertBefore(held.element, at);
      continue;
    }
    const element = build();
    cache.set(key, { sign, element });
    if (!held) parent.insertBefore(element, at);
    else {
      if (held.element === at) at = at.nextElementSibling;
      const focused = focusIn(held.element);
      held.element.remove();
      parent.insertBefore(element, at);
      if (focused >= 0) focusAgain(element, focused);
    }
  }
  const neighbour = lost && parent.children[Math.min(lost.index, parent.children.length - 1)];
  if (neighbour) focusAgain(neighbour, lost.at);
}
