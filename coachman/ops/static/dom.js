// Small tools for the document. Nothing is written that already stands there.

export const element = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export function svg(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

export function setText(target, text) {
  const one = typeof target === "string" ? element(target) : target;
  if (one.textContent !== String(text)) one.textContent = text;
}

// Makes `parent` have one child for each item, of the same key as before where there was one.
export function keyed(parent, items, keyOf, create, fill) {
  const before = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  items.forEach((item, index) => {
    const key = String(keyOf(item));
    let child = before.get(key);
    before.delete(key);
    if (!child) {
      child = create(item);
      child.dataset.key = key;
    }
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] || null);
    fill(child, item);
  });
  for (const child of before.values()) child.remove();
}

export function stateBadge() {
  return make("span", { class: "state" }, make("span", { class: "shape", "aria-hidden": "true" }), make("span"));
}

export function setState(badge, [state, text]) {
  if (badge.dataset.state !== state) badge.dataset.state = state;
  setText(badge.lastChild, text);
}
