// Elements are made here and nowhere else. Text is set as text: nothing that comes from a card, a printer or a person
// ever becomes markup.

const SVG = "http://www.w3.org/2000/svg";

// el("p.note", {title: "…"}, "text", child, …): tag and classes, attributes or on… handlers, then what is inside.
export function el(shape, attributes = {}, ...inside) {
  const [tag, ...classes] = shape.split(".");
  const made = document.createElement(tag);
  if (classes.length) made.className = classes.join(" ");
  set(made, attributes);
  add(made, inside);
  return made;
}

export function svg(tag, attributes = {}, ...inside) {
  const made = document.createElementNS(SVG, tag);
  set(made, attributes);
  add(made, inside);
  return made;
}

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
}

function add(element, inside) {
  for (const one of inside.flat(3)) {
    if (one === undefined || one === null || one === false) continue;
    element.append(one instanceof Node ? one : document.createTextNode(String(one)));
  }
}

// Puts `inside` in place of what was there, unless it is the same: what somebody types or reads is left alone.
export function fill(element, ...inside) {
  const fresh = document.createElement(element.tagName);
  add(fresh, inside);
  if (element.isEqualNode(fresh) || sameInside(element, fresh)) return;
  element.replaceChildren(...fresh.childNodes);
}

function sameInside(one, other) {
  const a = one.childNodes, b = other.childNodes;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i += 1) if (!a[i].isEqualNode(b[i])) return false;
  return true;
}

// Lets keyed children follow a list: those that are the same stay, so that a list of sixty moves only where it must.
export function follow(element, items, keyOf, make) {
  const there = new Map([...element.children].map((child) => [child.dataset.key, child]));
  let place = element.firstChild;
  for (const item of items) {
    const key = String(keyOf(item)), digest = JSON.stringify(item);
    let child = there.get(key);
    there.delete(key);
    if (!child || child.dataset.digest !== digest) {
      const fresh = make(item);
      fresh.dataset.key = key;
      fresh.dataset.digest = digest;
      if (child) { if (place === child) place = child.nextSibling; child.remove(); }
      child = fresh;
    }
    if (child === place) place = place.nextSibling;
    else element.insertBefore(child, place);
  }
  for (const gone of there.values()) gone.remove();
}

export function toast(text, tone = "info") {
  const shown = el(`div.toast.${tone}`, {}, text);
  const all = document.getElementById("toasts");
  all.append(shown);
  while (all.children.length > 3) all.firstChild.remove();
  setTimeout(() => shown.remove(), tone === "bad" ? 9000 : 5000);
}
