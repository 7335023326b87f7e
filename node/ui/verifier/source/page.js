// The page: takes a file, shows each check. Nothing of the file becomes markup.

import { MAX_BYTES } from "./canonical.js";
import { ASK_THE_CHAIN, verify } from "./checks.js";
import { ASK_OF_PACK } from "./pack.js";
import { isAble } from "./signature.js";
import { LANGUAGES, translate } from "./words.js";

const find = (id) => document.getElementById(id);
const state = { language: spoken(), verdict: null, report: null, latest: 0 };

/** Watches the page's own controls and shows its words. */
export async function start() {
  find("file").addEventListener("change", (event) => take(event.target.files[0]));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
  show();
  if (!(await isAble())) {
    find("file").disabled = true;
    tell({ tone: "bad", key: "unable" }, null);
  }
}

async function take(file) {
  if (file === undefined || find("file").disabled) return;
  const number = (state.latest += 1);
  const name = file.name;
  tell({ tone: "wait", key: "working", filled: { file: name } }, null);
  let bytes;
  try {
    // One more: too large is seen as such.
    bytes = new Uint8Array(await file.slice(0, MAX_BYTES + 1).arrayBuffer());
  } catch {
    tell({ tone: "bad", key: "unreadable", filled: { file: name } }, null);
    return;
  } finally {
    find("file").value = ""; // the same file may be chosen again
  }
  const report = await verify(bytes);
  if (number !== state.latest) return; // another file was chosen meanwhile
  const failed = report.checks.find((check) => !check.ok);
  const filled = { file: name, count: report.checks.length, where: failed?.where ?? "" };
  tell({ tone: report.ok ? "good" : "bad", key: report.ok ? "holds" : "fails", filled }, report);
}

function tell(verdict, report) {
  Object.assign(state, { verdict, report });
  show();
}

function show() {
  const { language, verdict, report } = state;
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  document.title = `${t("title")} · FATE-Chain`;
  for (const element of document.querySelectorAll("[data-word]")) {
    element.textContent = t(element.dataset.word);
  }
  find("languages").setAttribute("aria-label", t("language"));
  find("languages").replaceChildren(...Object.entries(LANGUAGES).map(languageButton));
  find("verdict").className = `callout ${verdict?.tone ?? ""}`;
  find("verdict").textContent = verdict === null ? "" : t(verdict.key, verdict.filled);
  find("verdict").hidden = verdict === null;
  find("report").hidden = report === null;
  find("rows").replaceChildren(...(report?.checks ?? []).map(row));
  const { certificate = null, pack = null } = report ?? {};
  const holds = certificate !== null || pack !== null;
  find("about").hidden = !holds;
  const stated = certificate !== null ? facts(certificate) : pack !== null ? packFacts(pack) : [];
  find("facts").replaceChildren(...stated);
  find("open").hidden = !holds;
  const open = pack === null ? ASK_THE_CHAIN : ASK_OF_PACK;
  const kind = pack === null ? "open" : "open.pack";
  find("unchecked").replaceChildren(
    ...open.flatMap((name) => fact(t(`name.${name}`), t(`${kind}.${name}`))),
  );
  const file = pack === null ? "certificate.json" : "pack.json";
  find("command").textContent = `fatechain verify ${file} --rpc URL --consortium 0x…`;
}

function t(key, filled) {
  return translate(state.language, key, filled);
}

/** The language of the browser, until somebody chooses. */
function spoken() {
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

function languageButton([language, name]) {
  const button = made("button", name);
  button.type = "button";
  button.lang = language;
  button.setAttribute("aria-pressed", String(language === state.language));
  button.addEventListener("click", () => {
    state.language = language;
    show();
    find("languages").querySelector(`[lang=${language}]`).focus(); // it was made anew
  });
  return button;
}

function row({ name, where, ok, detail }) {
  const mark = made("td", ok ? "✓" : "✗", `mark ${ok ? "good" : "bad"}`);
  mark.append(made("span", t(ok ? "good" : "bad"), "away"));
  const line = made("tr");
  line.dataset.check = name;
  line.append(
    mark,
    made("td", name.split(" ").map((part) => t(`name.${part}`)).join(" · ")),
    made("td", where, "id"),
    made("td", t(detail.key, detail.filled), "id"),
  );
  return line;
}

function facts({ network, job, parties, result, issued }) {
  const issuer = parties.find((party) => party.site === issued.by);
  const named = parties.map((party) => `${party.memberName} (${party.role})`);
  return [
    ["about.job", job.id],
    ["about.chain", String(network.chainId)],
    ["about.consortium", network.consortium],
    ["about.purpose", job.purpose],
    ["about.parties", named.join(", ")],
    ["about.result", result.digest],
    ["about.issued", `${issuer.memberName}, ${issued.at}`],
    ["about.key", issuer.requestKey.publicKey],
  ].flatMap(([key, value]) => fact(t(key), value));
}

function packFacts({ network, scope, log, issued, jobs }) {
  const { from, until, site, dataset, job, redacted } = scope;
  return [
    ["about.site", log.site],
    ["about.chain", String(network.chainId)],
    ["about.consortium", network.consortium],
    ["about.period", `${from ?? "…"} – ${until ?? "…"}`],
    ["about.scope", [site, dataset, job].filter((id) => id !== null).join(", ") || "–"],
    ["about.redacted", [...redacted.fields, ...redacted.kinds].join(", ") || "–"],
    ["about.jobs", String(jobs.length)],
    ["about.issued", issued.at],
    ["about.key", issued.publicKey],
  ].flatMap(([key, value]) => fact(t(key), value));
}

function fact(name, value) {
  return [made("dt", name), made("dd", value, "id")];
}

function made(kind, text = "", style = "") {
  const element = document.createElement(kind);
  element.textContent = text;
  if (style !== "") element.className = style;
  return element;
}
