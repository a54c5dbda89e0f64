const confused = JSON.parse(at("confused").textContent);

// The search.
const names = ["search", "teacher", "label", "margin"];
const options = (name, values) => {
  element("option", "all", at(name)).value = "";
  values.forEach((value, number) => { element("option", value, at(name)).value = value; });
};
options("teacher", data.teachers);
options("label", data.labels);
// Scores of some scorers differ by more than 1. At its right end the slider leaves out nothing.
const slider = at("margin");
slider.max = Math.ceil(100 * data.texts.reduce((most, each) => Math.max(most, each.margin), 0.01)) / 100;
slider.value = slider.max;
const MOST = 100; // texts that are shown at once
const showText = (each, parent) => {
  const teacher = data.teachers[each.teacher];
  const box = element("details", undefined, parent);
  box.className = "text";
  const summary = element("summary", undefined, box);
  element("bdi", each.text.slice(0, 110), summary);
  summary.append(" ");
  element("span", `taught as ${data.labels[each.label]}, most trusted: ${teacher}, margin ${each.margin.toFixed(3)}`, summary).className = "by";
  element("blockquote", each.text, box).dir = "auto";
  const table = element("table", undefined, box);
  const head = element("tr", undefined, element("thead", undefined, table));
  ["teacher", data.scorer, "its label", "probability"].forEach(name => { element("th", name, head).scope = "col"; });
  const body = element("tbody", undefined, table);
  each.answers.forEach(([score, label, probability], number) => {
    const row = element("tr", undefined, body);
    if (number === each.teacher) row.className = "best";
    element("th", data.teachers[number], row).scope = "row";
    const said = label < 0 ? ["no answer", ""] : [data.own[number][label], probability.toFixed(3)];
    [score.toFixed(3), ...said].forEach(cell => element("td", cell, row));
  });
  element("p", `The highest score decides: ${teacher}. Its weight for the student is ${each.weight.toFixed(2)}.`, box);
};
const show = () => {
  const wanted = Object.fromEntries(names.map(name => [name, at(name).value]));
  const words = wanted.search.toLowerCase();
  const found = data.texts.filter(each =>
    (!words || each.text.toLowerCase().includes(words)) &&
    (!wanted.teacher || data.teachers[each.teacher] === wanted.teacher) &&
    (!wanted.label || data.labels[each.label] === wanted.label) &&
    (wanted.margin === slider.max || each.margin <= Number(wanted.margin)));
  at("count").textContent = `${found.length} of ${data.texts.length} texts` +
    (found.length > MOST ? `, the first ${MOST} of them below` : "");
  at("texts").replaceChildren();
  found.slice(0, MOST).forEach(each => showText(each, at("texts")));
};
const asked = new URLSearchParams(location.hash.slice(1));
names.forEach(name => {
  if (asked.has(name)) at(name).value = asked.get(name);
  at(name).addEventListener("input", () => {
    const set = names.map(each => [each, at(each).value]).filter(([each, value]) => value && !(each === "margin" && value === slider.max));
    history.replaceState(null, "", "#" + new URLSearchParams(set));
    show();
  });
});
show();

// The matrix: one stop of the Tab key, arrow keys within it, and a click or Enter opens a cell.
const matrix = at("matrix");
if (matrix) {
  const buttons = [...matrix.querySelectorAll("button")];
  const place = button => button.dataset.cell.split(",").map(Number);
  buttons.forEach((button, number) => { button.tabIndex = number ? -1 : 0; });
  const open = button => {
    matrix.querySelector("[aria-pressed=true]")?.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-pressed", "true");
    const box = at("opened"), texts = confused[button.dataset.cell] || [];
    box.replaceChildren();
    element("h3", button.getAttribute("aria-label"), box);
    const count = Number(button.textContent.replaceAll(",", ""));
    element("p", texts.length < count ? `${texts.length} of them:` : "", box).className = "quiet";
    texts.forEach(text => { element("blockquote", text || "(an empty text)", box).dir = "auto"; });
    if (box.getBoundingClientRect().top > innerHeight - 160) box.scrollIntoView({ block: "nearest" });
  };
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  buttons.forEach(button => {
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => open(button));
    button.addEventListener("keydown", event => {
      const [down, right] = step[event.key] || [0, 0];
      if (!down && !right) return;
      event.preventDefault();
      const [row, column] = place(button);
      // The nearest cell that holds texts, in this direction.
      const next = buttons.map(each => [each, place(each)])
        .filter(([, [y, x]]) => (down ? x === column && (y - row) * down > 0 : y === row && (x - column) * right > 0))
        .sort(([, a], [, b]) => Math.abs(a[0] - row) + Math.abs(a[1] - column) - Math.abs(b[0] - row) - Math.abs(b[1] - column))[0];
      if (!next) return;
      button.tabIndex = -1;
      next[0].tabIndex = 0;
      next[0].focus();
    });
  });
}

// On paper the settings and the other rules are open; tables behind charts and single texts stay folded.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("section > details:not(.text, [open])")];
  folded.forEach(each => { each.open = true; });
});
addEventListener("afterprint", () => folded.forEach(each => { each.open = false; }));

// The navigation shows where one is.
const links = new Map([...document.querySelectorAll("nav a")].map(link => [link.hash.slice(1), link]));
const seen = new IntersectionObserver(entries => entries.forEach(({ target, isIntersecting }) => {
  if (!isIntersecting) return;
  links.forEach(link => link.removeAttribute("aria-current"));
  links.get(target.id)?.setAttribute("aria-current", "true");
}), { rootMargin: "-20% 0px -70% 0px" });
document.querySelectorAll("main > section").forEach(section => seen.observe(section));
