// What a certificate shows by itself: the checks of chain/standalone.py, in the same order and
// with the same `where`. A test holds the two against each other.

import { isObject, parse, same } from "./canonical.js";
import { canonicalBytes, digestOf, unhex } from "./digest.js";
import { openEntry } from "./entries.js";
import { Failure, say } from "./failure.js";
import { certificateShape, SECTIONS } from "./format.js";
import { verifyInclusion } from "./merkle.js";
import { lookAtPack, PACK } from "./pack.js";
import { reconciliationSection } from "./reconciliation.js";
import { isSigned } from "./signature.js";
import { state } from "./state.js";

const FINISHED = "fatechain.task.finished.v1";
const NO_MODEL = ["predict", "match", "count"];
const ATTESTED = "fatechain.result.attested.v1";

const AT_ONCE = 256; // entries: WebCrypto answers each digest later, but many at a time

const LOOKS = {
  sections,
  signatures,
  specification,
  result,
  model,
  logs,
  steps,
  reconciliation,
  state,
};

/** What only the chain can tell of a certificate, by subject. */
export const ASK_THE_CHAIN = [
  "network",
  "job",
  "parties",
  "algorithm",
  "result",
  "model",
  "logs",
  "reconciliation",
];

/**
 * Holds the bytes of a certificate or an evidence pack against themselves: {ok, checks: [{name,
 * where, ok, detail}], certificate, pack}. Throws nothing that the bytes can cause; `certificate`
 * and `pack` are null unless it is one and all of it holds.
 */
export async function verify(bytes) {
  const checks = [];
  const value = parsed(bytes, checks);
  const isPack = isObject(value) && value.type === PACK;
  if (checks.length > 0) return { ok: false, checks, certificate: null, pack: null };
  if (isPack) await lookAtPack(value, checks, failed, certificateChecks);
  else await lookAtCertificate(value, checks);
  const ok = checks.every((check) => check.ok);
  return { ok, checks, certificate: ok && !isPack ? value : null, pack: ok && isPack ? value : null };
}

/** The checks of a certificate and of nothing else: a pack in a pack is none. */
async function certificateChecks(bytes) {
  const checks = [];
  const value = parsed(bytes, checks);
  if (checks.length === 0) await lookAtCertificate(value, checks);
  return checks;
}

function parsed(bytes, checks) {
  try {
    return parse(bytes);
  } catch (error) {
    checks.push(failed("format", "$", error));
    return null;
  }
}

async function lookAtCertificate(certificate, checks) {
  try {
    certificateShape(certificate, "$");
    checks.push({ name: "format", where: "$", ok: true, detail: say("format.holds") });
  } catch (error) {
    checks.push(failed("format", "$", error));
    return;
  }
  for (const [name, look] of Object.entries(LOOKS)) {
    try {
      for await (const [where, detail] of look(certificate)) {
        checks.push({ name, where, ok: true, detail });
      }
    } catch (error) {
      checks.push(failed(name, name === "signatures" ? "$" : `$.${name}`, error));
    }
  }
}

/** Fails closed: what nobody thought of is a failed check, not a stopped page. */
function failed(name, where, error) {
  if (!(error instanceof Failure)) {
    return { name, where, ok: false, detail: say("cannot", { error: error.name ?? "Error" }) };
  }
  const { found, expected } = error;
  return { name, where: error.where, ok: false, detail: say("differs", { found, expected }) };
}

function require(where, found, expected) {
  if (!same(found, expected)) throw new Failure(where, found, expected);
}

/** Equal as JSON; else fails at the first place that differs. */
function requireSame(where, found, expected) {
  if (isObject(found) && isObject(expected)) {
    for (const [name, value] of Object.entries(expected)) {
      if (!Object.hasOwn(found, name)) throw new Failure(`${where}.${name}`, say("nothing"), value);
      requireSame(`${where}.${name}`, found[name], value);
    }
    require(where, Object.keys(found).sort(), Object.keys(expected).sort());
  } else if (Array.isArray(found) && Array.isArray(expected)) {
    const shared = Math.min(found.length, expected.length);
    for (let n = 0; n < shared; n += 1) requireSame(`${where}[${n}]`, found[n], expected[n]);
    require(where, found.length, expected.length);
  } else {
    require(where, found, expected);
  }
}

function sitesOf(certificate) {
  return certificate.parties.map((party) => party.site);
}

async function* sections(certificate) {
  for (const name of SECTIONS) {
    require(`$.${name}`, await digestOf(certificate[name]), certificate.sections[name]);
    yield [`$.${name}`, say("sections.holds")];
  }
}

async function* signatures(certificate) {
  const { issued } = certificate;
  const signedBy = certificate.signatures.map((part) => `${part.site} ${part.keyId}`);
  if (!signedBy.includes(`${issued.by} ${issued.keyId}`)) {
    throw new Failure("$.signatures", say("signatures.none"), say("signatures.issuer", issued));
  }
  if (new Set(signedBy).size !== signedBy.length) {
    throw new Failure("$.signatures", say("signatures.twice"), say("signatures.once"));
  }
  const payload = canonicalBytes({ sections: certificate.sections, version: 3 });
  for (const [number, part] of certificate.signatures.entries()) {
    const where = `$.signatures[${number}]`;
    if (!sitesOf(certificate).includes(part.site)) {
      throw new Failure(`${where}.site`, part.site, say("signatures.party"));
    }
    const key = requestKey(certificate, part);
    if (key === undefined) {
      throw new Failure(`${where}.keyId`, part.keyId, say("signatures.key"));
    }
    if (!(await isSigned(unhex(key.publicKey), part.signature, payload))) {
      const found = say("signatures.other");
      throw new Failure(`${where}.signature`, found, say("signatures.sections"));
    }
    yield [where, say("signatures.holds", part)];
  }
}

function requestKey(certificate, { site, keyId }) {
  const holds = (party) => party.site === site && party.requestKey.id === keyId;
  return certificate.parties.find(holds)?.requestKey;
}

async function* specification(certificate) {
  const { job, parties } = certificate;
  const document = certificate.specification;
  require("$.specification", await digestOf(document), job.specification);
  yield ["$.specification", say("specification.digest")];
  const stated = {
    codeDigest: job.algorithm,
    purpose: job.purpose,
    deadline: job.deadline,
    parties: parties.map(({ site, role, datasets }) => ({
      site,
      role,
      inputs: datasets.map(({ dataset, version, grant }) => ({
        dataset,
        version,
        grant: grant === null ? null : grant.id,
      })),
    })),
  };
  const found = Object.keys(stated).map((name) => [name, document[name] ?? null]);
  requireSame("$.specification", Object.fromEntries(found), stated);
  yield ["$.specification", say("specification.names")];
}

async function* result(certificate) {
  const { job, result: stated } = certificate;
  const { attempt, parts, metrics } = stated;
  const digest = await digestOf({ job: job.id, attempt, parts, metrics });
  require("$.result.digest", stated.digest, digest);
  const sites = sitesOf(certificate);
  require("$.result.parts", parts.map((part) => part.site), [...sites].sort());
  yield ["$.result.digest", say("result.digest")];
  for (const site of sites) {
    await requireEntry(certificate, site, ATTESTED, "$.result.digest", { result: digest, attempt });
    yield ["$.result.digest", say("result.attested", { site })];
  }
}

async function* model(certificate) {
  const { job, model: stated, result: made } = certificate;
  if (stated === null) {
    const kind = certificate.specification.kind ?? null;
    if (!NO_MODEL.includes(kind)) throw new Failure("$.model", kind, NO_MODEL.join(", "));
    yield ["$.model", say("model.none")];
    return;
  }
  const digest = await digestOf({ job: job.id, parts: made.parts });
  require("$.model.digest", stated.digest, digest);
  yield ["$.model", say("model.holds")];
}

async function* logs(certificate) {
  const shown = certificate.logs.map((log) => log.site);
  require("$.logs", shown.sort(), sitesOf(certificate).sort());
  for (const [number, log] of certificate.logs.entries()) {
    const where = `$.logs[${number}]`;
    const { cosigners, of } = log.anchored;
    require(`${where}.anchored.cosigners`, cosigners, [...new Set(cosigners)].sort());
    for (let start = 0; start < log.entries.length; start += AT_ONCE) {
      const some = log.entries.slice(start, start + AT_ONCE).map((part, n) =>
        requireIncluded(certificate.job.id, log, part, `${where}.entries[${start + n}]`),
      );
      // All of them, so that what fails first is first in the file, not first in time.
      const failure = (await Promise.allSettled(some)).find(({ status }) => status === "rejected");
      if (failure !== undefined) throw failure.reason;
    }
    const inOrder = log.entries.every((part, n) => n === 0 || log.entries[n - 1].index < part.index);
    if (!inOrder) {
      throw new Failure(`${where}.entries`, say("logs.disorder"), say("logs.order"));
    }
    yield [where, say("logs.holds", { count: log.entries.length, site: log.site, k: cosigners.length, of })];
  }
}

async function requireIncluded(job, log, part, where) {
  const told = await openEntry(part, where);
  const { root, size } = log.anchored;
  const leaf = unhex(part.leafHash);
  if (!(await verifyInclusion(unhex(root), size, part.index, leaf, part.proof.map(unhex)))) {
    throw new Failure(`${where}.proof`, say("logs.no.proof"), root);
  }
  require(`${where}.entry.source`, part.entry.source ?? null, log.site);
  if (part.entry.subject !== job && told.job !== job) {
    throw new Failure(`${where}.entry`, say("logs.elsewhere"), say("logs.of.job", { job }));
  }
}

async function* steps(certificate) {
  const sites = sitesOf(certificate).sort();
  for (const [number, { step, attempt, outputs }] of certificate.steps.entries()) {
    const where = `$.steps[${number}]`;
    require(`${where}.outputs`, Object.keys(outputs).sort(), sites);
    for (const site of Object.keys(outputs).sort()) {
      const told = { step, attempt, output: outputs[site] };
      await requireEntry(certificate, site, FINISHED, `${where}.outputs[${site}]`, told);
    }
    yield [where, say("steps.holds", { step })];
  }
}

async function* reconciliation(certificate) {
  const expected = await reconciliationSection(certificate);
  requireSame("$.reconciliation", certificate.reconciliation, expected);
  yield ["$.reconciliation", say("reconciliation.holds", expected)];
}

/** Some entry of that kind in the site's log tells exactly this. */
async function requireEntry(certificate, site, kind, where, told) {
  for (const [number, log] of certificate.logs.entries()) {
    for (const [position, part] of log.site === site ? log.entries.entries() : []) {
      if (part.entry.type !== kind) continue;
      const data = await toldBy(part, `$.logs[${number}].entries[${position}]`);
      if (Object.entries(told).every(([name, value]) => tells(data, name, value))) return;
    }
  }
  throw new Failure(where, say("no.entry", { kind }), say("an.entry", { site }));
}

/** What an entry discloses; nothing where it lies, which is found where the logs are looked at. */
async function toldBy(part, where) {
  try {
    return await openEntry(part, where);
  } catch (error) {
    if (error instanceof Failure) return {};
    throw error;
  }
}

function tells(data, name, value) {
  return Object.hasOwn(data, name) && same(data[name], value);
}
