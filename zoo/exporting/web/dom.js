// Elements of the page. All text goes in as text, never as HTML: it may come from a stranger's file.

/** Returns an element with attributes, listeners (`onclick: function`) and children. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, String(value));
  }
  made.append(...children.filter((child) => child != null && child !== false));
  return made;
}

/** Returns a button that calls a function. */
export function button(text, onclick, attributes = {}) {
  return element("button", { type: "button", onclick, ...attributes }, text);
}

/** Returns a labelled slider; `input` is called with the number, `set` moves it without a call. */
export function slider(text, { low, high, value, step }, input) {
  const inFew = (number) => (high - low < 1 ? formatted(number) : String(Number(number.toFixed(2))));
  const shown = element("output", {}, inFew(value));
  const range = element("input", { type: "range", min: low, max: high, step: step ?? ((high - low) / 200 || 1), value });
  range.addEventListener("input", () => {
    shown.textContent = inFew(range.valueAsNumber);
    input(range.valueAsNumber);
  });
  const node = element("label", { class: "slider" }, text, range, shown);
  const set = (number) => {
    range.value = number;
    shown.textContent = inFew(number);
  };
  const reach = (least, most) => Object.assign(range, { min: least, max: most, step: (most - least) / 200 });
  return { node, set, reach, get value() { return range.valueAsNumber; } };
}

/** Returns a number with few digits. */
export function formatted(number) {
  const isSmall = number !== 0 && Math.abs(number) < 1e-3;
  return isSmall ? number.toExponential(1) : String(Number(number.toPrecision(3)));
}

/** Returns a group of buttons of which one is pressed; arrow keys move between them. */
export function choice(label, names, chosen, input) {
  const group = element("div", { class: "row", role: "radiogroup", "aria-label": label });
  const buttons = names.map((name, index) => button(name, () => choose(index, true), { role: "radio" }));
  const choose = (index, tell) => {
    buttons.forEach((each, other) => {
      each.setAttribute("aria-checked", other === index);
      each.tabIndex = other === index ? 0 : -1;
    });
    if (tell) {
      buttons[index].focus();
      input(index);
    }
  };
  group.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    choose((buttons.indexOf(document.activeElement) + step + names.length) % names.length, true);
  });
  group.append(...buttons);
  choose(chosen, false);
  return { node: group, choose: (index) => choose(index, false) };
}

/** Says something to a screen reader. */
export function announce(text) {
  document.getElementById("announcement").textContent = text;
}

/** Offers bytes as a file to save. */
export function save(blob, name) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Returns a function that runs `work` again and again while it is asked to, never twice at once. */
export function latest(work) {
  let running = false;
  let asked = false;
  return async function again() {
    asked = true;
    if (running) return;
    running = true;
    try {
      while (asked) {
        asked = false;
        await work(() => asked);
      }
    } finally {
      running = false;
    }
  };
}
