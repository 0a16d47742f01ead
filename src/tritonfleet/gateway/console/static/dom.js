// Small helpers around the DOM. Text is always set as text: nothing here makes markup from strings.

/** Return the element with this id. */
export const byId = (id) => document.getElementById(id);

/** Make an element; attributes that start with "on" are listeners, children are nodes or text. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** Set an element's text, only if it changed: screen readers and selections stay undisturbed. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Set or remove an attribute, only if it changed. */
export function setAttribute(element, name, value) {
  if (value == null || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** Change what a scrolling element holds; if its end was in sight before, it is afterwards. */
export function keepAtEnd(place, change) {
  const atEnd = place.scrollHeight - place.scrollTop - place.clientHeight < 40;
  change();
  if (atEnd) place.scrollTop = place.scrollHeight;
}

/**
 * Make the children of `parent` those of `items`, in order; children of items that stay are kept, focus and all.
 * `make(item)` returns a new child, `update(child, item)` fills it.
 */
export function keyed(parent, items, keyOf, make, update) {
  const old = new Map(
    [...parent.children].filter((child) => child.key !== undefined).map((child) => [child.key, child]),
  );
  let place = [...parent.children].find((child) => child.key !== undefined) ?? null;
  for (const item of items) {
    const key = keyOf(item);
    let child = old.get(key);
    old.delete(key);
    if (!child) {
      child = make(item);
      child.key = key;
    }
    if (child === place) place = child.nextElementSibling;
    else parent.insertBefore(child, place);
    update?.(child, item);
  }
  for (const child of old.values()) child.remove();
}
