// The page of realgrain. Whatever comes from a file or from the server is put in as text, never as markup.

const words = await (await fetch("strings.json")).json();
const $ = (id) => document.getElementById(id);

/** A sentence of strings.json, with its {places} filled. */
function t(key, filled = {}) {
  return words[key].replace(/\{(\w+)\}/g, (_, name) => String(filled[name]));
}

/** A sentence whose key ends in what the server said; the bare value where there is none. */
function known(family, value) {
  const key = `${family}.${value}`;
  return Object.hasOwn(words, key) ? words[key] : String(value);
}

const SVG = "http://www.w3.org/2000/svg";

function put(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}
const h = (tag, attributes = {}, ...children) => put(document.createElement(tag), attributes, children);
const g = (tag, attributes = {}, ...children) => put(document.createElementNS(SVG, tag), attributes, children);

// Numbers, as the reader writes them.

const lang = words.lang;
const number = (value, digits = 0) => new Intl.NumberFormat(lang, { maximumFractionDigits: digits, minimumFractionDigits: digits }).format(value);
function percent(share) {
  const form = new Intl.NumberFormat(lang, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
  if (share > 0.999) return `> ${form.format(0.999)}`;
  return share < 0.001 ? `< ${form.format(0.001)}` : form.format(share);
}
const whole = (percentage) => new Intl.NumberFormat(lang, { style: "percent" }).format(percentage / 100);
const signed = (value) => new Intl.NumberFormat(lang, { maximumFractionDigits: 1, minimumFractionDigits: 1, signDisplay: "always" }).format(value);
const listed = (parts) => new Intl.ListFormat(lang, { type: "unit" }).format(parts);
const thousand = (share) => number(1000 * share, share > 0 && share < 0.01 ? 1 : 0);

// What is kept: in memory, for as long as the tab is open.

const SIGNS = { ai: "▲", camera: "●", unsure: "◆", failed: "✘" };
const TRUST = { "signed-trusted": "✔", "signed-untrusted": "?", invalid: "✘", unsigned: "–" };
const AT_ONCE = 2; // requests: the server shares runs between them
const TRIES = 4; // of one picture while the server is there and breaks off
const BUSY = [429, 503]; // statuses of a server that is to be asked again
const PATIENCE = 600000; // ms for which one picture asks it again
const UNTRIED = { tries: 0, until: null }; // how often the server broke off, and when patience with a busy one ends
const LOOK = 2000; // ms between looks for a server that is gone
const BEAT = 15000; // ms between looks at a server that is there
const items = [];
let count = 0;
let sending = 0;
let rests = 0; // that a busy server has asked for
let gone = false;
let locked = false;
let key = "";

const say = (text) => { $("live").textContent = text; };

// Requests.

class Refused extends Error {
  constructor(status, code, detail, wait) {
    super(code);
    Object.assign(this, { status, code, detail, wait });
  }
}
class Gone extends Error {}

const headers = () => (key ? { Authorization: `Bearer ${key}` } : {});

/** What an answer other than 200 means: Refused with what RFC 9457 has to say, or Gone where it is not the server's: a proxy's, which misses it. */
function refusal(status, said, wait) {
  if (!said.code && status >= 500) return new Gone();
  const code = said.code ?? (status === 413 ? "too_many_bytes" : "other"); // proxies have a limit of their own
  return new Refused(status, String(code), String(said.detail ?? status), Number(wait) || 5);
}

/** Send the file of an item; gives the answer's JSON. Throws what refusal says, or Gone where there was no answer. */
function post(address, { file, requests }, onSent) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch does not tell how much has been sent
    request.open("POST", address);
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => { if (event.lengthComputable) onSent(event.loaded / event.total); });
    for (const kind of ["error", "timeout", "abort"]) request.addEventListener(kind, () => reject(new Gone()));
    request.timeout = 600000;
    request.addEventListener("load", () => {
      let said = {};
      try { said = JSON.parse(request.responseText); } catch { /* a proxy's page, say */ }
      if (request.status === 200) return resolve(said);
      return reject(refusal(request.status, said, request.getResponseHeader("Retry-After")));
    });
    requests.add(request);
    request.addEventListener("loadend", () => requests.delete(request));
    const form = new FormData();
    form.append("file", file, file.name);
    request.send(form);
  });
}

function inWords(problem) {
  if (problem instanceof Gone) return [t("error.unreachable")];
  const plain = Object.hasOwn(words, `error.${problem.code}`) ? known("error", problem.code) : t("error.other");
  if (!problem.status) return [plain]; // nobody was asked
  const said = t("problem.said", { detail: problem.detail, code: problem.code });
  return BUSY.includes(problem.status) ? [plain, said, t("problem.wait", { seconds: problem.wait })] : [plain, said];
}

/** Hide a part of the page; the focus goes on to the results if it is in there. */
function hide(part) {
  if (part.contains(document.activeElement)) $("results").focus();
  part.hidden = true;
}

// The server, gone and back.

async function alive() {
  try {
    return (await fetch(gone ? "ready" : "health", { cache: "no-store", signal: AbortSignal.timeout(8000) })).ok;
  } catch {
    return false;
  }
}

let looking = null;
function setGone(now) {
  const before = gone;
  gone = now;
  showGone();
  if (gone && !looking) looking = setInterval(look, LOOK);
  if (!gone && before) {
    clearInterval(looking);
    looking = null;
    say(t("gone.back"));
    if (!model) learn();
    pump();
  }
}
async function look() { setGone(!(await alive())); }
function showGone() {
  const words_ = t("gone.words", { n: items.filter((item) => item.state === "waiting").length });
  if ($("gone-words").textContent !== words_) $("gone-words").textContent = words_;
  if (gone) $("gone").hidden = false;
  else hide($("gone"));
}
$("again").addEventListener("click", look);
setInterval(() => { if (!gone && !document.hidden) look(); }, BEAT);

// The key.

function ask(reason) {
  locked = true;
  $("key-words").textContent = reason;
  if (!$("key-form").hidden) return;
  $("key-form").hidden = false;
  $("key").focus();
}
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key = $("key").value.trim();
  learn();
});

// The detector, and what it can be asked for.

let model = null;
let learning = null;
async function learn() {
  clearTimeout(learning);
  try {
    const answer = await fetch("v1/model", { headers: headers(), signal: AbortSignal.timeout(8000) });
    if (!answer.ok) throw refusal(answer.status, await answer.json().catch(() => ({})), answer.headers.get("Retry-After"));
    model = await answer.json();
  } catch (problem) {
    if (!(problem instanceof Refused)) return setGone(true);
    if (problem.status === 401) return ask(key ? t("key.wrong") : t("key.wanted"));
    if (BUSY.includes(problem.status)) {
      $("key-words").textContent = again(problem);
      learning = setTimeout(learn, 1000 * problem.wait);
      return;
    } // otherwise it is only for the footer and the list
  }
  locked = false;
  hide($("key-form"));
  $("key").value = "";
  if (model) describe();
  pump();
}

function describe() {
  $("model").textContent = t("footer.model", { name: model.card.name, bundle: model.bundle.slice(0, 12), version: model.realgrain });
  const names = Object.keys(model.card.profiles ?? {});
  $("profile").replaceChildren(h("option", { value: "" }, t("profile.none")), ...names.map((name) => h("option", { value: name }, known("profile", name))));
  $("profile-row").hidden = names.length === 0;
}

// Pictures come in.

function add(files, folders = []) {
  const found = [...files].map((file, index) => ({
    id: `p${++count}`, file, folder: folders[index], url: URL.createObjectURL(file), profile: $("profile").value, state: "waiting", requests: new Set(),
    open: true, ...UNTRIED,
  }));
  if (!found.length) return;
  items.push(...found);
  found.forEach(build);
  say(t("live.added", { n: found.length }));
  for (const item of found) if (item.folder) fail(item, new Refused(0, "not_a_file"));
  $("empty").hidden = true;
  $("history").hidden = false;
  pump();
}

$("files").addEventListener("change", (event) => {
  add(event.target.files);
  event.target.value = ""; // so that the same file can be chosen again
});
/** What is dropped or pasted; later nobody can tell folders from files. */
function take({ files, items: entries }) {
  add(files, [...entries].filter((entry) => entry.kind === "file").map((entry) => entry.webkitGetAsEntry()?.isDirectory));
}
document.addEventListener("paste", (event) => { if (event.clipboardData?.files.length) { event.preventDefault(); take(event.clipboardData); } });
let depth = 0;
const carries = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
const over = (change) => { depth = Math.max(0, change ? depth + change : 0); $("drop").classList.toggle("over", depth > 0); };
document.addEventListener("dragenter", (event) => { if (carries(event)) over(1); });
document.addEventListener("dragleave", (event) => { if (carries(event)) over(-1); });
document.addEventListener("dragover", (event) => { if (carries(event)) event.preventDefault(); });
document.addEventListener("drop", (event) => { if (carries(event)) { event.preventDefault(); over(0); take(event.dataTransfer); } });

// ... and are judged, a few at a time.

function pump() {
  if (gone || locked || rests) return showGone();
  for (const item of items) {
    if (sending >= AT_ONCE) return;
    if (item.state === "waiting") judge(item);
  }
}

/** Send nothing for some seconds. */
function rest(seconds) {
  rests += 1;
  setTimeout(() => { rests -= 1; pump(); }, 1000 * seconds);
}

const query = (item, more = {}) => {
  const all = new URLSearchParams({ ...more, ...(item.profile ? { profile: item.profile } : {}) }).toString();
  return all ? `?${all}` : "";
};

async function judge(item) {
  sending += 1;
  move(item, "sending");
  try {
    item.report = await post(`v1/detect${query(item)}`, item, (share) => sent(item, share));
    if (item.forgotten) return;
    move(item, "done");
    say(t("live.done", { name: item.file.name, verdict: verdict(item) }));
  } catch (problem) {
    if (!item.forgotten) await failed(item, problem);
  } finally {
    sending -= 1;
    pump();
  }
}

async function failed(item, problem) {
  if (problem instanceof Gone) {
    setGone(!(await alive()));
    if (item.forgotten) return;
    if (gone) Object.assign(item, UNTRIED); // it is the server's fault
    else item.tries += 1;
    if (item.tries < TRIES) {
      if (!gone) rest(LOOK / 1000);
      move(item, "waiting");
      return showGone();
    }
  } else if (!(problem instanceof Refused)) {
    throw problem; // a mistake of this page
  } else if (problem.status === 401) {
    move(item, "waiting");
    return ask(key ? t("key.wrong") : t("key.wanted"));
  } else if (BUSY.includes(problem.status)) {
    item.until ??= Date.now() + PATIENCE;
    if (Date.now() + 1000 * problem.wait < item.until) {
      rest(problem.wait);
      return move(item, "waiting", again(problem));
    }
  }
  fail(item, problem);
}

function fail(item, problem) {
  item.problem = problem;
  move(item, "failed");
  say(t("live.failed", { name: item.file.name, reason: inWords(problem)[0] }));
}

const again = (problem) => t("state.busy", { reason: inWords(problem)[0], seconds: problem.wait });

function verdict(item) {
  if (item.state === "failed") return t("state.failed");
  const { reasons } = item.report.verdict;
  const said = called(item.report);
  return reasons.length ? t("card.verdict", { verdict: said, reasons: listed(reasons.map((reason) => known("why", reason))) }) : said;
}

/** A verdict; a clip is not called a photograph. */
const called = ({ kind, verdict: { label } }) => (kind === "clip" && label === "camera" ? t("clip.camera") : known("verdict", label));

// Cards.

function build(item) {
  item.heading = h("h3", { id: `${item.id}-name`, tabindex: "-1" }, item.file.name);
  item.body = h("div");
  item.image = item.file.type.startsWith("video/")
    ? h("video", { src: item.url, controls: true, muted: true, playsinline: true, preload: "metadata", "aria-label": t("card.clip", { name: item.file.name }) })
    : h("img", { src: item.url, alt: t("card.picture", { name: item.file.name }) });
  item.frame = h("div", { class: "frame" }, item.image);
  item.image.addEventListener("error", () => {
    if (item.image.isConnected) item.image.replaceWith(h("p", { class: "soft" }, t("card.unseen")));
  });
  const away = h("button", { type: "button", class: "small", click: () => toggle(item, false), "aria-label": t("card.away.of", { name: item.file.name }) }, t("card.away"));
  item.card = h("article", { id: item.id, "aria-labelledby": `${item.id}-name` }, h("header", {}, item.heading, away), item.frame, item.body);
  item.entry = h("button", { type: "button", class: "small", click: () => toggle(item, true) });
  item.row = h("li", {}, item.entry);
  $("cards").append(item.card);
  $("entries").append(item.row);
  move(item, item.state);
}

function toggle(item, open) {
  item.open = open;
  item.card.hidden = !open;
  list(item);
  if (open) {
    item.heading.focus();
    item.card.scrollIntoView({ block: "nearest" });
  } else item.entry.focus();
}

function list(item) {
  const sign = item.state === "failed" ? "failed" : item.report?.verdict.label;
  const state = sign ? (sign === "failed" ? t("state.failed") : called(item.report)) : t("state.waiting");
  const shown = item.open ? t("history.shown") : t("history.away");
  item.entry.replaceChildren(h("span", { class: `sign ${sign ?? ""}`, "aria-hidden": "true" }, SIGNS[sign] ?? "…"), " ", t("history.entry", { name: item.file.name, state, shown }));
}

$("forget").addEventListener("click", () => {
  for (const item of items.splice(0)) {
    item.forgotten = true;
    URL.revokeObjectURL(item.url);
    for (const request of item.requests) request.abort();
    item.card.remove();
    item.row.remove();
  }
  $("empty").hidden = false;
  $("history").hidden = true;
  showGone();
  say(t("history.forgot"));
  $("results").focus();
});

/** Set what has become of a picture, and show it. */
function move(item, state, note = "") {
  item.state = state;
  list(item);
  if (state === "done") item.body.replaceChildren(...judged(item));
  else if (state === "failed") item.body.replaceChildren(...refused(item));
  else waiting(item, note);
}

function waiting(item, note) {
  item.bar = h("progress", { "aria-labelledby": `${item.id}-name`, max: "1" });
  item.note = h("p", { class: "soft" }, note || t("state.waiting"));
  item.body.replaceChildren(...(item.state === "sending" ? [item.bar] : []), item.note);
}

function sent(item, share) {
  if (item.state !== "sending") return;
  if (share < 1) item.bar.value = share;
  else item.bar.removeAttribute("value");
  item.note.textContent = share < 1 ? t("state.sending", { percent: whole(100 * share) }) : t("state.judging");
}

function refused(item) {
  const [plain, said] = inWords(item.problem);
  const retry = () => { Object.assign(item, UNTRIED); move(item, "waiting"); item.heading.focus(); pump(); };
  return [
    h("div", { class: "lead failed" }, h("p", { class: "verdict" }, sign("failed"), ` ${t("state.failed")}`), h("p", {}, plain), said ? h("p", { class: "soft" }, said) : null),
    ...(item.folder ? [] : [h("p", {}, h("button", { type: "button", click: retry, "aria-label": t("card.retry.of", { name: item.file.name }) }, t("card.retry")))]),
  ];
}

const sign = (label) => h("span", { class: "sign", "aria-hidden": "true" }, SIGNS[label]);

function judged(item) {
  const { report } = item;
  if (report.kind === "clip") return [lead(item), ...timeline(item), ...frames(item), ...fileOfClip(report)];
  return [lead(item), ...scale(item), ...strip(report), ...map(item), ...evidence(report), ...file(report), ...report_(item)];
}

function lead(item) {
  const { report } = item;
  return h("div", { class: `lead ${report.verdict.label}` },
    h("p", { class: "verdict" }, sign(report.verdict.label), ` ${verdict(item)}`),
    h("p", {}, report.kind === "clip" ? `${t("clip.caution")} ${wrongOfClip(report)}` : wrong(report)));
}

const rated = (rate) => ({ value: thousand(rate.value), low: thousand(rate.low), high: thousand(rate.high), n: number(rate.n) });

/** How often such a verdict is wrong, in plain words. */
function wrong(report) {
  const { decision, verdict: { label } } = report;
  if (!decision.false_positive) return t("rate.unknown");
  if (label === "unsure") return t("rate.unsure", rated(decision.false_positive));
  if (label === "camera" && !decision.missed) return t("rate.missed.unknown");
  const said = label === "ai" ? t("rate.flagged", rated(decision.false_positive)) : t("rate.missed", rated(decision.missed));
  const elsewhere = label === "ai" ? decision.worst_false_positive_unseen : decision.worst_missed_unseen;
  const unseen = (rate) => (label === "ai" ? t("rate.flagged.unseen", rate) : t("rate.missed.unseen", rate));
  return [said, ...(elsewhere ? [unseen(rated(elsewhere.rate))] : []), ...worth(report)].join(" ");
}

/** How often such a verdict is given where it is right, and whether that tells anything. */
function worth({ decision, verdict: { label, tells_little: little } }) {
  const right = label === "ai" ? decision.caught : decision.passed;
  if (!right) return [];
  if (label === "ai") return [little ? t("rate.caught.little", rated(right)) : t("rate.caught", rated(right))];
  return [little ? t("rate.passed.little", rated(right)) : t("rate.passed", rated(right))];
}

function wrongOfClip({ decision, verdict: { label } }) {
  if (!decision.false_positive) return t("clip.wrong");
  if (label === "ai") return t("clip.flagged", rated(decision.false_positive));
  if (label === "unsure") return t("clip.unsure", rated(decision.false_positive));
  return decision.missed ? t("clip.missed", rated(decision.missed)) : t("clip.missed.unknown");
}

// Probability.

function ends({ decision }) {
  const { calibration } = decision;
  const at = (logit) => (logit === null ? null : 1 / (1 + Math.exp(-(calibration.slope * logit + calibration.intercept))));
  return calibration ? { camera: at(decision.camera), ai: at(decision.ai) } : { camera: null, ai: null };
}

function side(decision, logit) {
  if (decision.ai === null) return "none";
  if (logit >= decision.ai) return "ai";
  return decision.camera !== null && logit <= decision.camera ? "camera" : "unsure";
}

/** Whether the logits tell nothing of a picture like this: the probability is a half whatever they are. */
const flat = ({ decision }) => decision.calibration?.slope === 0;

const place = (share) => `${(100 * share).toFixed(2)}%`;

function scale(item) {
  const { report } = item;
  const title = h("h4", {}, t("scale.title"));
  if (report.probability === null) return [title, h("p", {}, t("scale.none", { logit: number(report.logit, 3) }))];
  if (flat(report)) {
    const said = t("scale.flat", { logit: number(report.logit, 3) });
    return [title, h("p", {}, h("span", { class: "big" }, percent(report.probability)), ` ${said}`)];
  }
  const { camera, ai } = ends(report);
  const low = camera ?? 0;
  const high = ai ?? 1;
  const zones = [];
  const shown = { camera: number(low, 3), ai: number(high, 3) };
  if (camera !== null) zones.push(["camera", "●", t("scale.camera", shown)]);
  zones.push(["", "▨", ai === null ? t("scale.unsure.all") : t("scale.unsure", shown)]);
  if (ai !== null) zones.push(["ai", "▲", t("scale.ai", shown)]);
  const label = t("scale.label", { value: number(report.probability, 3), zones: listed(zones.map((zone) => zone[2])) });
  const hatch = `${item.id}-hatch`;
  const drawn = g("svg", { class: "scale", role: "img", "aria-label": label },
    g("defs", {}, g("pattern", { id: hatch, width: "6", height: "6", patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
      g("line", { class: "hatch", x1: "0", x2: "0", y1: "0", y2: "6" }))),
    g("rect", { class: "zone", x: "0", y: "25%", width: "100%", height: "50%" }),
    g("rect", { x: place(low), y: "25%", width: place(high - low), height: "50%", fill: `url(#${hatch})` }),
    camera === null ? null : g("rect", { class: "zone camera", x: "0", y: "25%", width: place(low), height: "50%" }),
    ai === null ? null : g("rect", { class: "zone ai", x: place(high), y: "25%", width: place(1 - high), height: "50%" }),
    low > 0.06 ? g("text", { class: "within camera", x: place(low / 2), y: "50%" }, SIGNS.camera) : null,
    high < 0.94 ? g("text", { class: "within ai", x: place((1 + high) / 2), y: "50%" }, SIGNS.ai) : null,
    g("circle", { class: "dot", cx: place(report.probability), cy: "50%", r: "8" }));
  const stable = report.stability;
  const said = stable ? t("scale.range", { low: percent(stable.minimum), high: percent(stable.maximum), n: stable.views.length }) : t("scale.words");
  return [
    title,
    h("p", {}, h("span", { class: "big" }, percent(report.probability)), ` ${said}`),
    drawn,
    h("div", { class: "ends", "aria-hidden": "true" }, h("span", {}, "0"), h("span", {}, "1")),
    h("ul", { class: "zones" }, ...zones.map(([name, mark, text]) => h("li", {}, h("span", { class: `sign ${name}`, "aria-hidden": "true" }, mark), text))),
    report.domain ? h("p", { class: "soft" }, t(report.domain.outside ? "domain.outside" : "domain.inside", { distance: number(report.domain.distance, 3), threshold: number(report.domain.threshold, 3) })) : null,
    report.borders && report.borders.outside ? h("p", { class: "soft" }, t("borders.outside", { length: number(report.borders.length, 2), threshold: number(report.borders.threshold, 2) })) : null,
  ].filter((part) => part !== null);
}

function strip(report) {
  const title = h("h4", {}, t("strip.title"));
  if (!report.stability) return [title, h("p", { class: "soft" }, t("strip.none"))];
  const { camera, ai } = ends(report);
  const rows = report.stability.views.map((view, index) => {
    const chance = flat(report) ? null : view.probability;
    const drawn = chance === null ? h("span") : g("svg", { "aria-hidden": "true" },
      g("line", { class: "axis", x1: "0", x2: "100%", y1: "50%", y2: "50%" }),
      ...[camera, ai].filter((end) => end !== null).map((end) => g("line", { class: "end", x1: place(end), x2: place(end), y1: "0", y2: "100%" })),
      g("circle", { class: "dot", cx: place(chance), cy: "50%", r: index ? "5" : "7" }));
    const shown = chance === null ? number(view.logit, 2) : number(chance, 3);
    return h("div", { class: index ? null : "self", role: "listitem" }, h("span", {}, known("view", view.name)), drawn,
      h("span", { class: "number" }, t("strip.value", { value: shown, side: known("side", side(report.decision, view.logit)) })));
  });
  return [title, h("p", { class: "soft" }, t("strip.words")), h("div", { class: "strip", role: "list", "aria-label": t("strip.label") }, ...rows)];
}

// What takes longer: the map and the case report.

/** A button that sends the picture once more, and then gives its place to what comes of it. */
function longer(item, { title, cost, make, of, busy, ready, address, show }) {
  const place_ = h("div");
  const status = h("p", { class: "soft" }, cost);
  const heading = h("h4", { tabindex: "-1" }, title);
  const button = h("button", { type: "button", "aria-label": of }, make);
  button.addEventListener("click", async () => {
    if (button.getAttribute("aria-disabled")) return;
    const bar = h("progress", { "aria-label": busy });
    button.setAttribute("aria-disabled", "true"); // and not disabled, which would lose the focus
    status.textContent = busy;
    say(busy);
    place_.append(bar);
    try {
      const made = await post(address, item, () => {});
      if (item.forgotten) return;
      const mine = place_.contains(document.activeElement); // whoever has gone on is left where they are
      place_.replaceChildren(...show(made));
      say(ready);
      if (mine) (place_.querySelector("input, button") ?? heading).focus();
    } catch (problem) {
      if (problem instanceof Gone && !item.forgotten) await look();
      if (item.forgotten) return;
      bar.remove();
      button.removeAttribute("aria-disabled");
      if (problem.status === 401) ask(key ? t("key.wrong") : t("key.wanted"));
      status.textContent = gone ? $("gone-words").textContent : inWords(problem).join(" ");
      say(status.textContent);
    }
  });
  place_.append(h("p", {}, button), status);
  return [heading, place_];
}

function map(item) {
  const { name } = item.file;
  return longer(item, {
    title: t("map.title"), cost: t("map.cost"), make: t("map.make"), of: t("map.make.of", { name }), busy: t("map.busy", { name }), ready: t("map.ready", { name }),
    address: "v1/regions",
    show: (made) => [...(made.overlay ? overlaid(item, made.overlay) : []), h("p", { class: "soft" }, mapped(made.regions))],
  });
}

/** What a map says, and what it does not. */
function mapped({ localised, spread, wobble, tiles }) {
  const rule = { spread: number(spread, 2), wobble: number(wobble, 2) };
  if (!localised) return t("map.flat", rule);
  const logits = tiles.map((tile) => tile.logit);
  return t("map.words", { ...rule, low: signed(Math.min(...logits)), high: signed(Math.max(...logits)) });
}

/** The overlay, which holds the picture too: on the picture and with a slider, or alone where the browser cannot show the picture. */
function overlaid(item, overlay) {
  const drawn = h("img", { src: `data:image/png;base64,${overlay}`, alt: t("map.alt") });
  if (!item.image.isConnected) {
    item.frame.replaceChildren(drawn);
    return [];
  }
  item.frame.append(drawn);
  const input = h("input", { type: "range", min: "0", max: "100", value: "100", id: `${item.id}-strength` });
  const shown = h("output", { for: input.id });
  const set = () => {
    drawn.style.opacity = String(input.value / 100);
    shown.textContent = whole(input.value);
    input.setAttribute("aria-valuetext", shown.textContent);
  };
  input.addEventListener("input", set);
  set();
  return [h("div", { class: "slider" }, h("label", { for: input.id }, t("map.strength"), " ", shown), input)];
}

function report_(item) {
  const { name } = item.file;
  return longer(item, {
    title: t("case.title"), cost: t("case.cost"), make: t("case.make"), of: t("case.make.of", { name }), busy: t("case.busy", { name }), ready: t("case.ready", { name }),
    address: `v1/report${query(item, { format: "both" })}`,
    show: (made) => [h("p", { class: "row" }, save(item, made.html, "html", t("case.html")), save(item, made.json, "json", t("case.json")))],
  });
}

function save(item, text, kind, label) {
  const stem = item.file.name.replace(/\.[^.]*$/, "") || t("case.stem");
  return h("button", { type: "button", click: () => {
    const url = URL.createObjectURL(new Blob([text], { type: kind === "html" ? "text/html" : "application/json" }));
    h("a", { href: url, download: `${stem}.case.${kind}` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
  } }, label);
}

// What the file says of itself, and what it is.

// Clips: what is said of single frames, over time.

function timeline(item) {
  const { clip, frames: shots, scenes, logit, pictures } = item.report;
  const scaled = shots[0].probability !== null;
  const values = shots.map((shot) => (scaled ? shot.probability : shot.logit));
  const bottom = scaled ? 0 : Math.min(...values);
  const reach = scaled ? 1 : Math.max(...values) - bottom || 1;
  const x = (time) => place(Math.min(1, time / (clip.seconds || 1)));
  const y = (value) => place(1 - (value - bottom) / reach);
  const { camera, ai } = scaled ? ends({ decision: pictures }) : { camera: null, ai: null };
  const low = camera ?? 0;
  const hatch = `${item.id}-hatch`;
  const said = { frames: shots.length, seconds: number(clip.seconds, 1), low: number(Math.min(...values), 2), high: number(Math.max(...values), 2) };
  const drawn = g("svg", { class: "timeline", role: "img", "aria-label": scaled ? t("clip.label", said) : t("clip.label.logit", said) },
    g("defs", {}, g("pattern", { id: hatch, width: "6", height: "6", patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
      g("line", { class: "hatch", x1: "0", x2: "0", y1: "0", y2: "6" }))),
    g("rect", { class: "zone", x: "0", y: "0", width: "100%", height: "100%" }),
    ai === null ? null : g("rect", { x: "0", y: y(ai), width: "100%", height: place(ai - low), fill: `url(#${hatch})` }),
    ...[camera, ai].filter((end) => end !== null).map((end) => g("line", { class: "end", x1: "0", x2: "100%", y1: y(end), y2: y(end) })),
    ...scenes.filter((scene) => scene.start > 0).map((scene) => g("line", { class: "border", x1: x(scene.start), x2: x(scene.start), y1: "0", y2: "100%" })),
    g("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", width: "100%", height: "100%" },
      g("polyline", { class: "path", points: shots.map((shot, index) => `${parseFloat(x(shot.time))},${parseFloat(y(values[index]))}`).join(" ") })),
    ...shots.map((shot, index) => g("circle", { class: "dot", cx: x(shot.time), cy: y(values[index]), r: "5" })));
  return [
    h("h4", {}, t("clip.title")),
    h("p", {}, t("clip.words", { frames: shots.length, seconds: number(clip.seconds, 1), scenes: scenes.length, logit: number(logit, 2) })),
    drawn,
    h("div", { class: "ends", "aria-hidden": "true" }, h("span", {}, t("clip.seconds", { time: 0 })), h("span", {}, t("clip.seconds", { time: number(clip.seconds, 1) }))),
    ...(ai === null ? [] : [h("p", { class: "soft" }, t("clip.band", { camera: number(low, 3), ai: number(ai, 3) }))]),
  ];
}

/** The numbers of the timeline, and for each a way to see its frame. */
function frames(item) {
  const show = (shot) => {
    const time = number(shot.time, 2);
    return h("button", { type: "button", class: "small", "aria-label": t("clip.show.of", { time }), click: () => {
      item.image.pause();
      item.image.currentTime = shot.time;
      item.frame.scrollIntoView({ block: "nearest" });
      say(t("clip.shown", { time }));
    } }, t("clip.show"));
  };
  const seen = item.image.tagName === "VIDEO" && item.image.isConnected; // what the browser cannot play, it cannot show either
  const head = [t("clip.time"), t("clip.scene"), t("clip.chance"), t("clip.logit")];
  const rows = item.report.frames.map((shot) => h("tr", {},
    h("th", { scope: "row" }, t("clip.seconds", { time: number(shot.time, 2) })), h("td", {}, String(shot.scene)),
    h("td", {}, shot.probability === null ? "–" : number(shot.probability, 3)), h("td", {}, number(shot.logit, 2)), ...(seen ? [h("td", {}, show(shot))] : [])));
  const name = t("clip.table", { name: item.file.name });
  return [h("div", { class: "frames", tabindex: "0", role: "region", "aria-label": name }, h("table", {}, h("caption", {}, name),
    h("thead", {}, h("tr", {}, ...head.map((word) => h("th", { scope: "col" }, word)), ...(seen ? [h("td", {})] : []))), h("tbody", {}, ...rows)))];
}

function fileOfClip(report) {
  const { clip } = report;
  const rows = [
    [t("file.name"), clip.name],
    [t("file.format"), clip.format],
    [t("file.codec"), clip.codec],
    [t("file.size"), t("file.size.words", { width: clip.width, height: clip.height, bytes: number(clip.bytes) })],
    [t("file.length"), t("file.length.words", { seconds: number(clip.seconds, 2), frames: number(clip.frames) })],
    clip.notes.length ? [t("file.notes"), clip.notes.join("; ")] : null,
    [t("file.sha256"), clip.sha256],
  ];
  return facts(report, rows);
}

const pairs = (rows) => h("dl", {}, ...rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));

function evidence({ evidence: said }) {
  const title = h("h4", {}, t("evidence.title"));
  if (!said) return [title, h("p", {}, t("evidence.skipped"))];
  const claims = said.claims.map((claim) => {
    const rows = Object.entries(claim).filter(([name, value]) => value !== null && !["kind", "trust", "source_type"].includes(name)).map(([name, value]) => [known("claim", name), String(value)]);
    if (claim.source_type) rows.push([t("claim.source_type"), known("source", claim.source_type)]);
    const mark = h("span", { class: "mark" }, h("span", { "aria-hidden": "true" }, TRUST[claim.trust]), ` ${known("trust", claim.trust)}`);
    const made = listed([claim.generator, claim.camera, claim.software].filter(Boolean)) || (claim.source_type ? known("source", claim.source_type) : claim.reason);
    return h("li", { class: claim.trust }, mark, t("evidence.claim", { kind: known("kind", claim.kind), made: made || t("evidence.quiet") }), pairs(rows));
  });
  const list_ = said.trust_list;
  return [
    title,
    claims.length ? h("ul", { class: "claims" }, ...claims) : h("p", {}, t("evidence.none")),
    ...said.notes.map((note) => h("p", { class: "note" }, note)),
    h("p", { class: "soft" }, list_ ? t("evidence.trusted", { name: list_.name, n: list_.certificates, date: list_.date }) : t("evidence.untrusted")),
    h("p", { class: "soft" }, t("evidence.caution")),
  ];
}

function file(report) {
  const { picture } = report;
  const rows = [
    [t("file.name"), picture.name],
    [t("file.format"), picture.format],
    [t("file.size"), t("file.size.words", { width: picture.width, height: picture.height, bytes: number(picture.bytes) })],
    [t("file.mode"), picture.mode],
    picture.jpeg_quality === null ? null : [t("file.quality"), String(picture.jpeg_quality)],
    picture.notes.length ? [t("file.notes"), picture.notes.join("; ")] : null,
    report.evidence ? [t("file.carries"), listed(report.evidence.carries.map((kind) => known("kind", kind))) || t("file.carries.none")] : null,
    [t("file.sha256"), picture.sha256],
  ];
  return facts(report, rows);
}

function facts(report, rows_) {
  const { decision, detector } = report;
  const rows = [
    ...rows_,
    [t("file.logit"), number(report.logit, 4)],
    decision.profile === null ? null : [t("file.profile"), known("profile", decision.profile)],
    decision.group === null ? null : [t("file.group"), t("file.group.words", { group: number(decision.group + 1), groups: number(decision.groups) })],
    [t("file.detector"), detector.name],
    [t("file.bundle"), detector.bundle],
    [t("file.runtime"), `${detector.runtime} ${detector.runtime_version}, ${detector.precision}`],
    [t("file.fitted"), decision.fitted],
  ];
  return [h("details", {}, h("summary", {}, t("file.title")), pairs(rows.filter((row) => row !== null)), h("p", { class: "soft" }, t("full", { sentence: report.sentence })))];
}

// Begin.

document.documentElement.lang = lang;
for (const node of document.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
learn();
