"use strict";
// The rating page: one row at a time, saved as it is rated. Text only ever becomes text nodes.
(() => {
  const by = (id) => document.getElementById(id);
  const base = location.pathname.replace(/\/$/, "");
  const make = (tag, text, kind) => {
    const found = document.createElement(tag);
    if (text !== undefined) found.textContent = text;
    if (kind) found.className = kind;
    return found;
  };
  let sheet, at = 0, now = 0, since = 0;
  const waiting = [];
  let sending = false;

  const cells = () => (sheet.answers[sheet.rows[at].id] ??= {});
  const rated = (row) => sheet.criteria.every((criterion) => sheet.answers[row.id]?.[criterion.name]);
  const open = (from) => {
    for (let i = 0; i < sheet.rows.length; i++) {
      const place = (from + i) % sheet.rows.length;
      if (!rated(sheet.rows[place])) return place;
    }
    return -1;
  };

  // ---- saving: one answer after the other, tried again until it is kept
  const say = (text, bad) => {
    by("saving").textContent = text;
    by("saving").classList.toggle("bad", Boolean(bad));
  };
  const send = async () => {
    if (sending) return;
    sending = true;
    let pause = 500;
    while (waiting.length) {
      try {
        const reply = await fetch(`${base}/answer`, {
          method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(waiting[0]),
        });
        if (reply.ok) {
          waiting.shift();
          pause = 500;
          continue;
        }
        if (reply.status < 500) {
          say(`refused: ${await reply.text()}`, true);
          waiting.shift();
          sending = false;
          return;
        }
        throw new Error(await reply.text());
      } catch (error) {
        say(`${waiting.length} not saved yet, trying again; keep this page open`, true);
        await new Promise((done) => setTimeout(done, pause));
        pause = Math.min(pause * 2, 8000);
      }
    }
    sending = false;
    say("all saved");
  };
  const keep = (answer) => {
    waiting.push({ row: sheet.rows[at].id, seconds: Math.round((Date.now() - since) / 100) / 10, ...answer });
    say("saving");
    send();
  };
  addEventListener("beforeunload", (event) => {
    if (waiting.length) event.preventDefault();
  });

  // ---- what is shown
  const progress = () => {
    const done = sheet.rows.filter(rated).length;
    by("progress").textContent = `${done} of ${sheet.rows.length} rated`;
    by("bar").setAttribute("aria-valuenow", done);
    by("bar").setAttribute("aria-valuemax", sheet.rows.length);
    by("bar").firstElementChild.style.width = `${(100 * done) / sheet.rows.length}%`;
  };
  const shownText = (name, text) => {
    const output = name.startsWith("output");
    const box = make("div", undefined, output ? "text output" : "text");
    const names = { input: "Request", context: "Source text", reference: "Reference", output: "Text to rate", output_A: "Text A", output_B: "Text B" };
    box.append(make("h2", names[name] ?? name));
    const body = make("div", text);
    body.tabIndex = 0;
    if (sheet.warnings.length && output) {
      box.classList.add("hidden-text");
      const show = () => box.classList.remove("hidden-text");
      body.title = "hidden: select to show";
      body.addEventListener("click", show, { once: true });
      body.addEventListener("keydown", (event) => event.key === "Enter" && show());
    }
    box.append(body);
    return box;
  };
  const mark = () => {
    [...by("criteria").children].forEach((set, place) => set.classList.toggle("now", place === now));
    by("criteria").children[now]?.scrollIntoView({ block: "nearest" });
  };
  const paint = () => {
    [...by("criteria").children].forEach((set, place) => {
      const given = cells()[sheet.criteria[place].name] ?? "";
      const buttons = [...set.querySelectorAll("button")];
      buttons.forEach((button, i) => {
        button.setAttribute("aria-checked", String(button.value === given));
        button.tabIndex = button.value === given || (!given && i === 0) ? 0 : -1;
      });
      set.querySelector(".anchor").textContent = sheet.criteria[place].levels[given] ?? "";
    });
  };
  const show = (place) => {
    if (place < 0 || place >= sheet.rows.length) return;
    comment();
    at = place;
    since = Date.now();
    const row = sheet.rows[at];
    by("place").textContent = `Row ${at + 1} of ${sheet.rows.length}`;
    const texts = sheet.columns.filter((name) => row.texts[name]).map((name) => [name, shownText(name, row.texts[name])]);
    const pair = make("div", undefined, "pair");
    by("texts").replaceChildren(...texts.filter(([name]) => !/^output_/.test(name)).map(([, box]) => box));
    pair.append(...texts.filter(([name]) => /^output_/.test(name)).map(([, box]) => box));
    if (pair.childElementCount) by("texts").append(pair);
    by("comment").value = cells().comment ?? "";
    const first = sheet.criteria.findIndex((criterion) => !cells()[criterion.name]);
    now = first < 0 ? 0 : first;
    paint();
    mark();
    progress();
    scrollTo(0, 0);
  };
  const comment = () => {
    if (!sheet.rows[at]) return;
    const text = by("comment").value;
    if (text === (cells().comment ?? "")) return;
    cells().comment = text;
    keep({ comment: text });
  };

  // ---- what is done
  const rate = (place, value) => {
    const name = sheet.criteria[place].name;
    cells()[name] = value;
    keep({ criterion: name, value });
    paint();
    progress();
    const next = sheet.criteria.findIndex((criterion) => !cells()[criterion.name]);
    now = next < 0 ? place : next;
    mark();
  };
  const chosen = (key) => {
    const labels = sheet.criteria[now].labels;
    const exact = labels.filter((label) => label.toLowerCase() === key);
    if (exact.length) return exact[0];
    const begun = labels.filter((label) => label.toLowerCase().startsWith(key));
    return begun.length === 1 && !/^\d$/.test(key) ? begun[0] : undefined;
  };
  const typed = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !sheet) return;
    if (event.target === by("comment")) {
      if (event.key === "Escape") by("comment").blur();
      return;
    }
    const moves = {
      ArrowLeft: () => show(at - 1), ArrowRight: () => show(at + 1),
      ArrowUp: () => { now = Math.max(0, now - 1); mark(); },
      ArrowDown: () => { now = Math.min(sheet.criteria.length - 1, now + 1); mark(); },
    };
    const key = event.key.toLowerCase();
    const label = event.key.length === 1 ? chosen(key) : undefined;
    if (moves[event.key]) moves[event.key]();
    else if (label !== undefined) rate(now, label);
    else if (key === "n") rate(now, sheet.not_applicable);
    else if (key === "u") show(open(at + 1));
    else if (key === "c") by("comment").focus();
    else return;
    event.preventDefault();
  };
  const build = () => {
    document.title = sheet.title;
    by("title").textContent = sheet.title;
    by("task").textContent = sheet.task;
    by("guidelines").textContent = sheet.guidelines;
    if (sheet.warnings.length) {
      by("warning").hidden = false;
      by("warning").textContent = `${sheet.warnings.join(" ")} Texts are hidden until you select them.`;
    }
    sheet.criteria.forEach((criterion, place) => {
      const set = make("fieldset");
      set.append(make("legend", criterion.title), make("p", criterion.definition));
      const labels = make("div", undefined, "labels");
      labels.setAttribute("role", "radiogroup");
      labels.setAttribute("aria-label", criterion.title);
      for (const label of [...criterion.labels, sheet.not_applicable]) {
        const button = make("button", label);
        button.type = "button";
        button.value = label;
        button.title = criterion.levels[label] ?? "";
        button.setAttribute("role", "radio");
        button.addEventListener("click", () => { now = place; rate(place, label); });
        labels.append(button);
      }
      set.append(labels, make("p", "", "anchor"));
      by("criteria").append(set);
    });
    by("back").addEventListener("click", () => show(at - 1));
    by("on").addEventListener("click", () => show(at + 1));
    by("open").addEventListener("click", () => show(open(at + 1)));
    by("comment").addEventListener("change", comment);
    addEventListener("keydown", typed);
  };

  fetch(`${base}/sheet`).then(async (reply) => {
    if (!reply.ok) throw new Error(await reply.text());
    sheet = await reply.json();
    build();
    document.querySelector("main").hidden = false;
    const first = open(0);
    at = first < 0 ? 0 : first;
    show(at);
    say("all saved");
  }).catch((error) => say(`cannot load: ${error.message}`, true));
})();
