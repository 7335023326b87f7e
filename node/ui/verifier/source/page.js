// The page: takes a file, shows each check. Nothing of the file becomes markup.

import { blocksOf, compared, MOST, toldBlock } from "./blocks.js";
import { MAX_BYTES } from "./canonical.js";
import { ASK_THE_CHAIN, verify } from "./checks.js";
import { ASK_OF_PACK } from "./pack.js";
import { isAble } from "./signature.js";
import { LANGUAGES, translate } from "./words.js";

const find = (id) => document.getElementById(id);
const state = { language: spoken(), verdict: null, report: null, told: "", latest: 0 };

/** What is left to ask where a file is proved by the header of a block. */
const ASK_FOR_THE_BLOCK = ["block", "network", "anchoring"];
const ASK_FOR_A_PACK = ["block", "network", "anchoring", "told"];

/** Watches the page's own controls and shows its words. */
export async function start() {
  find("file").addEventListener("change", (event) => takeAll(event.target.files));
  find("told").addEventListener("input", (event) => compare(event.target.value));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    takeAll(event.dataTransfer.files);
  });
  show();
  if (!(await isAble())) {
    find("file").disabled = true;
    tell({ tone: "bad", key: "unable" }, null);
  }
}

/** A file with proofs, and perhaps one with the header of a block beside it. */
async function takeAll(files) {
  if (find("file").disabled) return;
  for (const file of [...files]) await take(file);
}

async function take(file) {
  const number = (state.latest += 1);
  const name = file.name;
  const before = { verdict: state.verdict, report: state.report };
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
  const text = bytes.length <= MOST ? new TextDecoder().decode(bytes) : "";
  if (toldBlock(text) !== null) {
    tell(before.verdict, before.report);
    compare(text.trim());
    return;
  }
  const report = await verify(bytes);
  if (number !== state.latest) return; // another file was chosen meanwhile
  const failed = report.checks.find((check) => !check.ok);
  const filled = { file: name, count: report.checks.length, where: failed?.where ?? "" };
  const good = report.ok && isProved(blocksOf(report)) ? "proved" : "holds";
  tell({ tone: report.ok ? "good" : "bad", key: report.ok ? good : "fails", filled }, report);
}

/** Holds the block that the reader named against those of the file. */
function compare(told) {
  state.told = told;
  show();
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
  const blocks = holds ? blocksOf({ certificate, pack }) : [];
  showBlocks(blocks);
  find("open").hidden = !holds;
  const { open, kind } = leftOpen({ pack, isProved: isProved(blocks) });
  find("unchecked").replaceChildren(
    ...open.flatMap((name) => fact(t(`name.${name}`), t(`${kind}.${name}`))),
  );
  const file = pack === null ? "certificate.json" : "pack.json";
  find("command").textContent = `fatechain verify ${file} --rpc URL --consortium 0x…`;
}

function showBlocks(blocks) {
  find("block").hidden = blocks.length === 0 && state.told === "";
  find("blocks").replaceChildren(
    ...blocks.flatMap(({ role, number, hash, time }) =>
      fact(t(`block.of.${role}`, { number }), `${hash} · ${time.toISOString().slice(0, 19)}Z`),
    ),
  );
  if (find("told").value !== state.told) find("told").value = state.told;
  const told = toldBlock(state.told);
  const { tone, words } = compared(blocks, told);
  find("same").hidden = state.told === "" || (told !== null && blocks.length === 0);
  find("same").className = `callout ${tone}`;
  find("same").textContent = words.map(([key, filled]) => t(key, filled)).join(" ");
}

/** Whether a header proves the file, and not a certificate in it alone. */
function isProved(blocks) {
  return blocks.some(({ role }) => role === "state");
}

function leftOpen({ pack, isProved }) {
  if (isProved) return { open: pack === null ? ASK_FOR_THE_BLOCK : ASK_FOR_A_PACK, kind: "open.block" };
  return pack === null ? { open: ASK_THE_CHAIN, kind: "open" } : { open: ASK_OF_PACK, kind: "open.pack" };
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
