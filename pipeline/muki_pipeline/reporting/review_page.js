// What is answered so far lies in the browser, under the digest of the sample.
const UNSURE = { unsure: true };
const SHOWN = 20; // labels that are listed at once
const answers = Object.create(null);
for (const each of data.texts) if (each.answer) answers[each.id] = each.answer;
let stored = true;
const read = () => { // another tab may have answered since
  try {
    Object.assign(answers, JSON.parse(localStorage.getItem(data.key) || "{}"));
  } catch {
    stored = false;
  }
};
read();
const keep = () => {
  try {
    localStorage.setItem(data.key, JSON.stringify(answers));
  } catch {
    stored = false;
  }
  at("unstored").hidden = stored;
};

let place = Math.max(data.texts.findIndex(each => !(each.id in answers)), 0);
const isDone = each => each.id in answers;
const given = each => (typeof answers[each.id] === "string" ? answers[each.id] : "");

// The share of right teachers: the same sums as in routing/accuracy.py.
const grid = [];
for (let i = 0; i <= 80; i++) {
  for (let j = 0; j <= 60; j++) {
    const a = -4 + i / 8, b = j / 20;
    grid.push({ a, b, prior: -0.5 * (a / 2) ** 2 - 0.5 * ((b - 1) / 0.5) ** 2 });
  }
}
if (data.typical) {
  for (const each of grid) {
    let sum = 0;
    for (const odds of data.typical) sum += 1 / (1 + Math.exp(-(each.a + each.b * odds)));
    each.share = sum / data.typical.length;
  }
  grid.sort((one, other) => one.share - other.share);
}
const softplus = x => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const fitted = judged => {
  const logs = grid.map(({ a, b, prior }) =>
    judged.reduce((sum, { odds, right }) => sum - softplus(right ? -(a + b * odds) : a + b * odds), prior));
  const most = logs.reduce((one, other) => Math.max(one, other));
  const weights = logs.map(each => Math.exp(each - most));
  const total = weights.reduce((sum, each) => sum + each, 0);
  let reached = 0, mean = 0, low = null, high = null;
  weights.forEach((weight, number) => {
    reached += weight / total;
    mean += (weight / total) * grid[number].share;
    if (low === null && reached >= 0.025) low = grid[number].share;
    if (high === null && reached >= 0.975) high = grid[number].share;
  });
  return { share: mean, low, high };
};
const wilson = judged => { // Wilson 1927
  const n = judged.length, p = judged.filter(each => each.right).length / n, z = 1.959963984540054;
  const middle = (p + (z * z) / (2 * n)) / (1 + (z * z) / n);
  const half = (z / (1 + (z * z) / n)) * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n));
  return { share: p, low: middle - half, high: middle + half };
};
const judged = () => data.texts
  .filter(each => each.random && data.labels.includes(given(each)))
  .map(each => ({ odds: each.odds, right: data.knows[each.chosen].includes(given(each)) }));

const tell = () => {
  const done = data.texts.filter(isDone).length;
  at("progress").max = data.texts.length;
  at("progress").value = done;
  const found = judged();
  const all = done === data.texts.length ? ", all: save the answers" : "";
  const parts = [`${done} of ${data.texts.length} texts${all}`];
  let enough = false;
  if (found.length && found.length < data.fewest) {
    parts.push(`the share of right teachers is told from ${data.fewest} random texts on`);
  } else if (found.length) {
    const { share, low, high } = data.typical ? fitted(found) : wilson(found);
    const half = (high - low) / 2;
    const wanted = Math.max(Math.round(found.length * ((half / data.width) ** 2 - 1)), 0);
    const answered = data.texts.filter(given).length;
    const missing = Math.min(wanted, data.corpus - answered);
    enough = missing === 0;
    parts.push(`right teacher: ${share.toFixed(3)} of the texts whose label a teacher knows (95 % interval ${low.toFixed(3)} to ${high.toFixed(3)})`);
    parts.push(wanted && !missing ? "every text of the corpus is answered"
             : enough ? `enough: the interval is ±${data.width} or less`
                      : `about ${missing} more answers for ±${data.width}`);
  }
  at("told").textContent = parts.join("; ");
  at("told").classList.toggle("enough", enough);
};

const choose = answer => {
  read();
  answers[data.texts[place].id] = answer;
  keep();
  move(1);
};
const move = step => {
  place = Math.min(Math.max(place + step, 0), data.texts.length - 1);
  show();
};
const show = () => {
  const now = data.texts[place];
  at("which").textContent = `Text ${place + 1}`;
  at("text").textContent = now.text;
  at("state").textContent = !isDone(now) ? "" : given(now) ? `answered: ${given(now)}` : "unsure";
  const offers = at("offers");
  offers.replaceChildren();
  now.offers.forEach(({ label, by }, number) => {
    const button = element("button", undefined, offers);
    button.type = "button";
    if (number < 9) element("kbd", String(number + 1), button);
    element("b", label, button).dir = "auto";
    element("span", by, button);
    button.setAttribute("aria-pressed", String(given(now) === label));
    button.addEventListener("click", () => choose(label));
  });
  at("search").value = "";
  list();
  tell();
};

const matching = () => {
  const words = at("search").value.trim().toLowerCase();
  if (!words) return data.labels.length <= SHOWN ? data.labels : [];
  // The label itself first, then those that begin so, then those that hold it.
  const rank = label => (label === words ? 0 : label.startsWith(words) ? 1 : label.includes(words) ? 2 : 3);
  return data.labels
    .map(label => [rank(label.toLowerCase()), label])
    .filter(([place]) => place < 3)
    .sort(([one], [other]) => one - other)
    .map(([, label]) => label);
};
const list = () => {
  at("found").replaceChildren();
  const labels = matching();
  at("hidden").textContent = labels.length > SHOWN ? `and ${labels.length - SHOWN} more: write more of it` : "";
  labels.slice(0, SHOWN).forEach(label => {
    const button = element("button", label, at("found"));
    button.type = "button";
    button.dir = "auto";
    button.addEventListener("click", () => choose(label));
  });
};

const quoted = cell => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
const safe = cell => (/^[=+\-@\t\r]/.test(cell) ? "'" + cell : cell); // no spreadsheet may read a formula
const csv = () => [data.columns, ...data.texts.map(each => [...each.cells, given(each)])]
  .map(row => row.map(cell => quoted(safe(cell))).join(",")).join("\n") + "\n";
const save = () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv;charset=utf-8" }));
  link.download = "answers.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
};

at("none").querySelector("b").textContent = data.none;
at("none").addEventListener("click", () => choose(data.none));
at("unsure").addEventListener("click", () => choose(UNSURE));
at("skip").addEventListener("click", () => move(1));
at("back").addEventListener("click", () => move(-1));
at("save").addEventListener("click", save);
at("search").addEventListener("input", list);
at("search").addEventListener("keydown", event => {
  event.stopPropagation();
  const [first] = matching();
  if (event.isComposing) return; // Enter ends the word of an input method
  if (event.key === "Enter" && at("search").value.trim() && first !== undefined) {
    event.preventDefault();
    at("search").blur();
    choose(first);
  } else if (event.key === "Escape") {
    at("search").blur();
  }
});
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const offer = data.texts[place].offers[Number(event.key) - 1];
  const keys = {
    n: () => choose(data.none), u: () => choose(UNSURE), s: save, "/": () => at("search").focus(),
    ArrowRight: () => move(1), ArrowLeft: () => move(-1),
  };
  const act = offer ? () => choose(offer.label) : keys[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
});
at("unstored").hidden = stored;
show();
