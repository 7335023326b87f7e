// What an evidence pack shows by itself: the checks of chain/pack.py, in the same order and with
// the same `where`.

import { isObject, same } from "./canonical.js";
import { canonicalBytes, hex, sha256, unhex } from "./digest.js";
import { openEntry } from "./entries.js";
import { Failure, say } from "./failure.js";
import { BASE64, HASH, NUMBER, TEXT, TIME } from "./format.js";
import { PACK_STATE, packState } from "./packState.js";
import { rootFromRange } from "./ranges.js";
import { any, exactly, list, object, orNull, record, text, whole } from "./shapes.js";
import { isSigned } from "./signature.js";

export const PACK = "evidence-pack";

/** What this page cannot tell of a pack, by subject. */
export const ASK_OF_PACK = ["network", "issued", "log", "jobs", "certificates"];

const KEPT = [
  "codeDigest",
  "digest",
  "job",
  "model",
  "output",
  "receiver",
  "result",
  "root",
  "rowsRoot",
  "sender",
  "specification",
];
const MOMENT = text(27, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
const ADDRESS = text(42, /^0x[0-9a-fA-F]{40}$/);
const KEY = text(66, /^0x[0-9a-f]{64}$/);
const AT_ONCE = 256;
const LOOKS = { signature, scope, log, chain: packState };

const SHOWN = record({
  index: NUMBER,
  leafHash: HASH,
  entry: object,
  disclosed: object,
  erased: (value, where) => exactly(value === true)(value, where), // true or false
});

const RECEIPT = record({
  type: exactly("erasure"),
  site: HASH,
  scope: TEXT,
  reason: TEXT,
  actor: TEXT,
  entry: TEXT,
  entries: list(list(NUMBER)),
  count: NUMBER,
  digest: HASH,
  erasedAt: TEXT,
  keyId: HASH,
  signature: TEXT,
});

const packShape = record({
  type: exactly(PACK),
  version: exactly(1),
  network: record({ chainId: whole(1), consortium: ADDRESS, jobRegistry: ADDRESS }),
  scope: record({
    from: orNull(MOMENT),
    until: orNull(MOMENT),
    site: orNull(HASH),
    dataset: orNull(HASH),
    job: orNull(HASH),
    firstBlock: NUMBER,
    lastBlock: whole(-1),
    redacted: record({ fields: list(TEXT, 0, 100), kinds: list(TEXT, 0, 100) }),
  }),
  log: record({
    site: HASH,
    anchored: record({ size: whole(1), root: HASH, block: whole(1), txHash: HASH }),
    first: NUMBER,
    end: NUMBER,
    entries: list((value, where) => (isObject(value) ? SHOWN : HASH)(value, where), 0, 200000),
    erasures: list(RECEIPT, 0, 10000),
    proof: list(HASH, 0, 128),
  }),
  certificates: list(record({ job: HASH, digest: HASH, certificate: orNull(object) }), 0, 1000),
  jobs: list(object),
  grants: list(object),
  models: list(object),
  governance: list(object),
  keys: list(object),
  chain: orNull(PACK_STATE),
  report: record({ en: any, zh: any, verifier: any }),
  issued: record({ by: HASH, at: TIME, keyId: HASH, publicKey: KEY }),
  signature: BASE64,
});

/** Adds the checks of a parsed pack; `certificateChecks` are those of a certificate's bytes. */
export async function lookAtPack(pack, checks, failed, certificateChecks) {
  try {
    packShape(pack, "$");
    checks.push({ name: "format", where: "$", ok: true, detail: say("pack.format.holds") });
  } catch (error) {
    checks.push(failed("format", "$", error));
    return;
  }
  for (const [name, each] of Object.entries(LOOKS)) {
    try {
      for await (const [where, detail] of each(pack)) {
        checks.push({ name, where, ok: true, detail });
      }
    } catch (error) {
      checks.push(failed(name, `$.${name}`, error));
    }
  }
  for (const [number, part] of pack.certificates.entries()) {
    await certificate(part, `$.certificates[${number}]`, checks, certificateChecks);
  }
}

function require(where, found, expected) {
  if (!same(found, expected)) throw new Failure(where, found, expected);
}

async function* signature(pack) {
  require("$.issued.by", pack.issued.by, pack.log.site);
  const { signature: stated, ...unsigned } = pack;
  const key = unhex(pack.issued.publicKey);
  if (!(await isSigned(key, stated, canonicalBytes(unsigned)))) {
    throw new Failure("$.signature", say("signatures.other"), say("pack.signature"));
  }
  yield ["$.signature", say("pack.signed")];
}

async function* scope(pack) {
  const { fields } = pack.scope.redacted;
  for (const [number, name] of fields.entries()) {
    if (KEPT.includes(name)) {
      const where = `$.scope.redacted.fields[${number}]`;
      throw new Failure(where, name, say("pack.kept", { names: KEPT.join(", ") }));
    }
  }
  if (fields.length > 0 && pack.certificates.some((part) => part.certificate !== null)) {
    throw new Failure("$.certificates", say("pack.redacted.shown"), say("pack.digests"));
  }
  for (const [number, part] of pack.certificates.entries()) {
    if (fields.length === 0 && part.certificate === null) {
      const where = `$.certificates[${number}].certificate`;
      throw new Failure(where, say("nothing"), say("pack.not.digest"));
    }
  }
  yield ["$.scope", say("pack.scope.holds")];
}

async function* log(pack) {
  const { first, end, entries, proof, anchored } = pack.log;
  require("$.log.end", end, first + entries.length);
  if (end > anchored.size) {
    throw new Failure("$.log.end", end, say("form.at.most", { n: anchored.size }));
  }
  if (pack.scope.from === null) require("$.log.first", first, 0);
  if (pack.scope.until === null) require("$.log.end", end, anchored.size);
  const receipted = await receiptedIn(pack);
  const leaves = [];
  for (let start = 0; start < entries.length; start += AT_ONCE) {
    const some = entries.slice(start, start + AT_ONCE).map((part, n) => {
      const where = `$.log.entries[${start + n}]`;
      if (typeof part === "string") return hiddenLeafOf(pack, part, where);
      return leafOf(pack, part, first + start + n, where, receipted);
    });
    // All of them, so that what fails first is first in the file, not first in time.
    const settled = await Promise.allSettled(some);
    const failure = settled.find(({ status }) => status === "rejected");
    if (failure !== undefined) throw failure.reason;
    leaves.push(...settled.map(({ value }) => value));
  }
  const found = await rootFromRange(first, leaves, anchored.size, proof.map(unhex));
  if (found === null || hex(found) !== anchored.root) {
    throw new Failure("$.log.proof", say("logs.no.proof"), anchored.root);
  }
  const shown = entries.filter((part) => typeof part !== "string");
  const erased = shown.filter((part) => part.erased).length;
  const hidden = entries.length - shown.length;
  const told = { first, end, size: anchored.size, shown: shown.length, hidden, erased };
  yield ["$.log", say("pack.log.holds", told)];
}

/** Nothing is a reason to hide a whole entry where everything was asked for. */
async function hiddenLeafOf({ scope: asked }, part, where) {
  const limits = [asked.from, asked.until, asked.site, asked.dataset, asked.job];
  if (limits.every((limit) => limit === null) && asked.redacted.kinds.length === 0) {
    throw new Failure(where, say("pack.bare"), say("pack.an.entry"));
  }
  return unhex(part);
}

/** Indexes of entries of the range that receipts of erasure cover. Each receipt is held against its
 * key and, where it speaks of entries of the range alone, against their leaves. */
async function receiptedIn(pack) {
  const { first, end, entries, erasures, site } = pack.log;
  const found = new Set();
  for (const [number, receipt] of erasures.entries()) {
    const where = `$.log.erasures[${number}]`;
    require(`${where}.site`, receipt.site, site);
    const key = keyIn(pack, receipt.keyId);
    if (key === null) throw new Failure(`${where}.keyId`, receipt.keyId, say("pack.audit.key"));
    const { signature: stated, ...unsigned } = receipt;
    if (!(await isSigned(key, stated, canonicalBytes(unsigned)))) {
      throw new Failure(`${where}.signature`, say("signatures.other"), say("pack.audit.key"));
    }
    requireInOrder(receipt, where);
    const isInside = receipt.entries.flat().every((index) => first <= index && index < end);
    const leaves = [];
    const covered = [];
    for (const [from, to] of receipt.entries) {
      for (let index = Math.max(from, first); index < Math.min(to + 1, end); index += 1) {
        const part = entries[index - first];
        covered.push(index);
        leaves.push(unhex(typeof part === "string" ? part : part.leafHash));
      }
    }
    if (isInside) {
      require(`${where}.digest`, receipt.digest, hex(await sha256(...leaves)));
    }
    // An entry is erased once; so what a hostile file makes a reader hash is bounded.
    if (covered.some((index) => found.has(index))) {
      throw new Failure(`${where}.entries`, say("pack.twice"), say("pack.one.receipt"));
    }
    covered.forEach((index) => found.add(index));
  }
  return found;
}

function requireInOrder({ entries, count }, where) {
  let told = 0;
  let past = -1;
  for (const [number, pair] of entries.entries()) {
    if (pair.length !== 2 || !(past < pair[0] && pair[0] <= pair[1])) {
      throw new Failure(`${where}.entries[${number}]`, pair, say("pack.ranges"));
    }
    told += pair[1] - pair[0] + 1;
    past = pair[1];
  }
  if (told !== count) throw new Failure(`${where}.count`, count, told);
}

/** The audit key of the log's site by the pack's own list, which the chain is held against. */
function keyIn(pack, id) {
  const isWanted = (key) =>
    key.site === pack.log.site && key.id === id && key.purpose === "audit";
  const text = pack.keys.find(isWanted)?.publicKey;
  return typeof text === "string" && /^0x[0-9a-f]{64}$/.test(text) ? unhex(text) : null;
}

async function leafOf(pack, part, index, where, receipted) {
  require(`${where}.index`, part.index, index);
  const told = await openEntry(part, where);
  require(`${where}.entry.source`, part.entry.source ?? null, pack.log.site);
  requireInScope(pack, part.entry, where);
  if (part.erased && !receipted.has(index)) {
    throw new Failure(`${where}.erased`, true, say("pack.receipt"));
  }
  requireEnough(pack, part, told, where);
  return unhex(part.leafHash);
}

function requireInScope({ scope: asked }, { time, type }, where) {
  if (typeof time !== "string" || typeof type !== "string") {
    throw new Failure(`${where}.entry`, say("nothing"), say("entry.object"));
  }
  if ((asked.from !== null && time < asked.from) || (asked.until !== null && time >= asked.until)) {
    throw new Failure(`${where}.entry.time`, time, `${asked.from} – ${asked.until}`);
  }
  if (asked.redacted.kinds.includes(type)) {
    throw new Failure(`${where}.entry.type`, type, say("pack.not.redacted"));
  }
}

/** Nothing is hidden but what the pack says it hides. */
function requireEnough({ scope: asked }, part, told, where) {
  const names = Object.keys(part.disclosed).sort();
  if (part.erased) {
    if (names.length > 0) throw new Failure(`${where}.disclosed`, names[0], say("nothing"));
    return;
  }
  const { fields } = asked.redacted;
  for (const name of Object.keys(part.entry.data).sort()) {
    if (!Object.hasOwn(told, name) && !fields.includes(name)) {
      throw new Failure(`${where}.disclosed.${name}`, say("nothing"), say("entry.committed"));
    }
  }
  for (const name of names) {
    if (fields.includes(name)) {
      throw new Failure(`${where}.disclosed.${name}`, say("pack.value"), say("nothing"));
    }
  }
}

/** Each check of a certificate that fails, at its place in the pack. */
async function certificate(part, at, checks, certificateChecks) {
  const add = (where, ok, detail) => checks.push({ name: "certificate", where, ok, detail });
  if (part.certificate === null) {
    add(at, true, say("pack.certificate.out"));
    return;
  }
  const content = canonicalBytes(part.certificate);
  const bytes = new Uint8Array(content.length + 1);
  bytes.set(content);
  bytes[content.length] = 0x0a;
  if (hex(await sha256(bytes)) !== part.digest) add(`${at}.digest`, false, say("pack.other.digest"));
  if (part.certificate.job?.id !== part.job) add(`${at}.job`, false, say("pack.other.job"));
  const report = await certificateChecks(bytes);
  for (const { name, where, ok, detail } of report) {
    if (!ok) {
      const place = `${at}.certificate${where.slice(1)}`;
      checks.push({ name: `certificate ${name}`, where: place, ok, detail });
    }
  }
  if (report.every(({ ok }) => ok)) {
    add(at, true, say("pack.certificate.holds", { count: report.length }));
  }
}
