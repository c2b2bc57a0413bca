// The sample browser. The figures above it are in the page already and need none of this.
// Text of data and models is only ever put into the page as text (textContent), never as markup.
"use strict";
(() => {
  const ROW = 34; // height of a row in pixels, as in report.css
  const SYMBOL = { right: "✓", wrong: "✗", part: "◐", error: "!", unscored: "?", missing: "…" };
  const WORD = { right: "right", wrong: "wrong", part: "in between", error: "failed", unscored: "unscored", missing: "not answered" };
  const COLUMNS = [["verdict", ""], ["task", "Task"], ["question", "Prompt"], ["answer", "Answer"], ["target", "Target"]];

  /** @param {string} id */
  const $ = (id) => document.getElementById(id);

  /** A new element with a class and text. @param {string} name @param {string} [cls] @param {unknown} [text] */
  const make = (name, cls, text) => {
    const element = document.createElement(name);
    if (cls) element.className = cls;
    if (text !== undefined && text !== null) element.textContent = String(text);
    return element;
  };

  /** What a <script type="text/plain"> block holds: base64 of gzip of JSON. @param {string} id */
  async function inflate(id) {
    const bytes = Uint8Array.from(atob($(id).textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }

  let index, order = [], chosen = -1, texts = null;
  let sorting = { by: null, down: false };
  const revealed = new Set(); // rows of tasks with a content warning that a reader asked to see
  let allRevealed = false;
  const chunks = new Map();
  const graded = new Set(JSON.parse($("browser").dataset.graded)); // tasks on whose scale 1 is not the best

  const chunk = (number) => {
    if (!chunks.has(number)) chunks.set(number, inflate("chunk-" + number));
    return chunks.get(number);
  };
  const detailOf = async (row) => (await chunk(Math.floor(row / index.chunk)))[row % index.chunk];

  /** right, wrong, in between, or how the record ended without a score. */
  const verdictOf = (row) => {
    if (index.status[row] !== "ok") return index.status[row];
    const value = index.value[row];
    return value === 1 && !graded.has(index.tasks[index.task[row]]) ? "right" : value === 0 ? "wrong" : "part";
  };
  const valueOf = (row, column) =>
    column === "verdict" ? (index.value[row] ?? -1) : column === "task" ? index.tasks[index.task[row]] : index[column][row];

  // --- content warnings: what is hidden is not in the page, only its shape is -----------------------------------------
  const warningOf = (row) => index.warnings[index.tasks[index.task[row]]];
  const hidden = (row) => Boolean(warningOf(row)) && !allRevealed && !revealed.has(row);

  /** The shape of a text without its letters, blurred. @param {string} text */
  const veiled = (text) => {
    const shape = make("span", "veiled", text.slice(0, 1200).replace(/[^\s]/g, "n"));
    shape.setAttribute("aria-hidden", "true");
    return shape;
  };

  /** The warning, the blurred sample behind it, and the button that shows it. */
  function veil(row, sample) {
    const box = make("div", "veil"), note = make("div", "veil-note"), button = make("button", "", "Show this sample");
    button.type = "button";
    note.append(make("p", "", "Content warning: " + warningOf(row)), button);
    note.setAttribute("role", "note");
    box.append(veiled(JSON.stringify([sample.answer, sample.target, sample.prompt])), note);
    box.addEventListener("click", () => {
      revealed.add(row);
      draw();
      show(sample, row);
      $("detail").focus({ preventScroll: true });
    });
    return box;
  }

  function veilBar() {
    const texts = [...new Set(Object.values(index.warnings))];
    $("veil-bar").hidden = !texts.length;
    $("veil-texts").replaceChildren(...texts.map((text) => make("p", "", "Content warning: " + text)));
    $("veil-all").addEventListener("click", () => {
      allRevealed = !allRevealed;
      revealed.clear();
      $("veil-all").setAttribute("aria-pressed", String(allRevealed));
      $("veil-all").textContent = allRevealed ? "Hide again" : "Show all";
      draw();
      if (chosen >= 0) choose(chosen, false);
    });
  }

  // --- state lives in the address, so that a view can be linked to ------------------------------------------------
  function readHash() {
    const state = new URLSearchParams(location.hash.startsWith("#samples?") ? location.hash.slice(9) : "");
    $("query").value = state.get("q") || "";
    $("by-task").value = state.get("task") || "";
    $("by-status").value = state.get("result") || "";
    return state.get("s");
  }
  function writeHash() {
    const state = new URLSearchParams();
    for (const [key, id] of [["q", "query"], ["task", "by-task"], ["result", "by-status"]]) if ($(id).value) state.set(key, $(id).value);
    if (chosen >= 0) state.set("s", index.id[chosen]);
    history.replaceState(null, "", "#samples?" + state);
  }

  // --- list ---------------------------------------------------------------------------------------------------------
  async function search() {
    const words = $("query").value.toLowerCase().split(/\s+/).filter(Boolean);
    const task = $("by-task").value, result = $("by-status").value;
    if (words.length && !texts) {
      texts = [];
      for (let row = 0; row < index.id.length; row++) {
        const d = await detailOf(row);
        texts.push(JSON.stringify([d.id, d.prompt, d.answer, d.target, d.outputs, d.error]).toLowerCase());
      }
    }
    order = [];
    for (let row = 0; row < index.id.length; row++) {
      if (task && index.tasks[index.task[row]] !== task) continue;
      if (result && verdictOf(row) !== result) continue;
      if (words.length && !words.every((word) => texts[row].includes(word))) continue;
      order.push(row);
    }
    if (sorting.by) {
      const compare = (a, b) => {
        const x = valueOf(a, sorting.by), y = valueOf(b, sorting.by);
        return (x < y ? -1 : x > y ? 1 : a - b) * (sorting.down ? -1 : 1);
      };
      order.sort(compare);
    }
    $("found").textContent = order.length.toLocaleString("en") + (order.length === 1 ? " sample" : " samples");
    $("spacer").style.height = order.length * ROW + "px";
    draw();
  }

  /** Draw the rows that can be seen, and a few around them. */
  function draw() {
    const box = $("rows");
    const first = Math.max(0, Math.floor(box.scrollTop / ROW) - 8);
    const last = Math.min(order.length, Math.ceil((box.scrollTop + box.clientHeight) / ROW) + 8);
    const rows = [];
    for (let position = first; position < last; position++) {
      const row = order[position], verdict = verdictOf(row);
      const line = make("div", "row" + (row === chosen ? " chosen" : ""));
      line.style.top = position * ROW + "px";
      line.dataset.row = String(row);
      line.setAttribute("role", "option");
      line.setAttribute("aria-selected", String(row === chosen));
      line.setAttribute("aria-setsize", String(order.length));
      line.setAttribute("aria-posinset", String(position + 1));
      const mark = make("span", "verdict " + verdict, SYMBOL[verdict]);
      mark.title = WORD[verdict];
      line.append(mark);
      line.append(make("span", "", valueOf(row, "task")));
      for (const column of ["question", "answer", "target"]) {
        line.append(hidden(row) ? veiled(valueOf(row, column)) : make("span", "", valueOf(row, column)));
      }
      if (hidden(row)) line.setAttribute("aria-label", WORD[verdict] + ", " + valueOf(row, "task") + ", hidden: " + warningOf(row));
      rows.push(line);
    }
    $("spacer").replaceChildren(...rows);
  }

  function step(by) {
    const position = order.indexOf(chosen);
    const next = order[Math.min(order.length - 1, Math.max(0, position < 0 ? 0 : position + by))];
    if (next === undefined) return;
    const top = order.indexOf(next) * ROW, box = $("rows");
    if (top < box.scrollTop || top + ROW > box.scrollTop + box.clientHeight) box.scrollTop = top - box.clientHeight / 2;
    choose(next);
  }

  /** Show a sample; the first one of a list is shown unasked and leaves the address alone. */
  async function choose(row, asked = true) {
    chosen = row;
    draw();
    if (asked) writeHash();
    const sample = await detailOf(row);
    if (row === chosen) show(sample, row);
  }

  // --- detail -------------------------------------------------------------------------------------------------------
  function show(sample, row) {
    const verdict = verdictOf(row), parts = [make("h3", "", sample.id)];
    const tags = make("div", "tags");
    tags.append(make("span", "tag " + verdict, SYMBOL[verdict] + " " + WORD[verdict]), make("span", "tag", sample.task));
    if (sample.filter !== "none") tags.append(make("span", "tag", "filter " + sample.filter));
    for (const [name, value] of Object.entries(sample.slices)) tags.append(make("span", "tag", name + ": " + value));
    parts.push(tags);
    if (Object.keys(sample.scores).length) parts.push(make("h4", "", "Scores"), scores(sample.scores));
    parts.push(...(hidden(row) ? [veil(row, sample)] : contents(sample)));
    $("detail").replaceChildren(...parts);
    $("detail").scrollTop = 0;
  }

  /** What was asked and answered: all that a content warning hides. */
  function contents(sample) {
    const parts = [];
    if (sample.error) parts.push(make("p", "failure", sample.error));
    parts.push(...remarks(sample.remarks));
    if (sample.choices.length) parts.push(make("h4", "", "Log-likelihoods"), choices(sample.choices));
    for (const [position, output] of sample.outputs.entries()) {
      const facts = [output.tokens && output.tokens + " tokens", output.finish === "length" && "cut at the length limit"].filter(Boolean);
      const title = "Output" + (sample.outputs.length > 1 ? " " + (position + 1) : "");
      parts.push(make("h4", "", title + (facts.length ? " (" + facts.join(", ") + ")" : "")), make("pre", "", output.text));
      if (output.tool_calls) parts.push(make("h4", "", "Calls of tools"), make("pre", "", JSON.stringify(output.tool_calls, null, 1)));
      if (output.reasoning) parts.push(make("h4", "", "Reasoning, not part of the answer"), make("pre", "", output.reasoning));
    }
    if (sample.outputs.length) parts.push(make("h4", "", "Answer after the filter"), make("pre", "", sample.answer));
    parts.push(make("h4", "", "Target"), make("pre", "", sample.target));
    parts.push(make("h4", "", "Prompt"), ...prompt(sample.prompt));
    parts.push(make("h4", "", "Fields of the sample"), make("pre", "", sample.doc));
    return parts;
  }

  function scores(values) {
    const box = make("div", "tags");
    for (const [name, value] of Object.entries(values)) {
      box.append(make("span", "tag" + (value === null ? " unscored" : ""), name + " " + (value === null ? "unscored" : Number(value.toFixed(4)))));
    }
    return box;
  }

  /** Why a score is missing, or what a scorer noted (a judge's reply, a vote). */
  const remarks = (notes) =>
    Object.entries(notes).map(([name, note]) => make("pre", "", name + ": " + (typeof note === "string" ? note : JSON.stringify(note, null, 1))));

  function choices(list) {
    const table = make("table", "choices"), head = make("tr");
    head.append(make("th", "", "Continuation"), make("th", "", "Log-prob."), make("th", "", ""));
    table.append(head);
    for (const choice of list) {
      const line = make("tr", (choice.gold ? "gold" : "") + (choice.picked ? " picked" : ""));
      const text = typeof choice.prompt === "string" ? choice.prompt + choice.text : choice.text;
      const notes = [choice.gold && "right", choice.picked && "likeliest"].filter(Boolean).join(", ");
      line.append(make("td", "", text), make("td", "num", choice.logprob === null ? "–" : choice.logprob.toFixed(3)), make("td", "", notes));
      table.append(line);
    }
    return table;
  }

  const prompt = (value) =>
    typeof value === "string" ? [make("pre", "", value)] : value.flatMap(([role, text]) => [make("span", "tag", role), make("pre", "", text)]);

  // --- start --------------------------------------------------------------------------------------------------------
  function heads() {
    $("heads").replaceChildren(...COLUMNS.map(([key, label]) => {
      const button = make("button", "", (label || "✓") + (sorting.by === key ? (sorting.down ? " ↓" : " ↑") : ""));
      button.type = "button";
      button.title = "sort by " + (label || "result").toLowerCase();
      button.addEventListener("click", () => {
        sorting = { by: key, down: sorting.by === key && !sorting.down };
        heads();
        search();
      });
      return button;
    }));
  }

  function listen() {
    let timer = 0;
    const changed = async () => {
      chosen = -1;
      await search();
      writeHash();
      $("rows").scrollTop = 0;
      if (order.length) choose(order[0], false);
    };
    $("query").addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(changed, 150); });
    for (const id of ["by-task", "by-status"]) $(id).addEventListener("change", changed);
    $("rows").addEventListener("scroll", draw, { passive: true });
    $("rows").addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) choose(Number(row.dataset.row));
    });
    addEventListener("resize", draw);
    addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "Escape") document.activeElement.blur();
      if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
      const inList = document.activeElement === $("rows");
      if (event.key === "j" || (inList && event.key === "ArrowDown")) { step(1); event.preventDefault(); }
      if (event.key === "k" || (inList && event.key === "ArrowUp")) { step(-1); event.preventDefault(); }
      if (event.key === "/") { $("query").focus(); event.preventDefault(); }
    });
    for (const button of document.querySelectorAll("[data-task]")) {
      button.addEventListener("click", () => {
        $("by-task").value = button.dataset.task;
        changed();
        $("samples").scrollIntoView();
      });
    }
  }

  async function start() {
    $("copy").addEventListener("click", async () => {
      await navigator.clipboard.writeText($("command").textContent);
      $("copy").textContent = "Copied";
    });
    for (const link of document.querySelectorAll('a[href^="#task-"]')) {
      link.addEventListener("click", () => { const task = $(link.hash.slice(1)); if (task) task.open = true; });
    }
    index = await inflate("index");
    for (const task of index.tasks) {
      const option = make("option", "", task);
      option.value = task;
      $("by-task").append(option);
    }
    $("browser").hidden = false;
    veilBar();
    const wanted = readHash();
    heads();
    listen();
    await search();
    const row = wanted === null ? -1 : order.find((r) => index.id[r] === wanted);
    if (!(row >= 0)) { if (order.length) choose(order[0], false); return; }
    choose(row);
    $("rows").scrollTop = order.indexOf(row) * ROW;
    $("samples").scrollIntoView();
  }
  start();
})();
