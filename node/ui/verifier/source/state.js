// What a certificate says of the chain, held against the storage of the contracts themselves: the
// slots and checks of chain/state.py, in the same order and with the same `where`.

import { unhex } from "./digest.js";
import { Failure, say } from "./failure.js";
import { proved } from "./slots.js";
import {
  ALGORITHM,
  ANCHORS,
  BOOK,
  CHECKPOINT,
  DATASETS,
  FULL,
  GRANT,
  JOB,
  KEY,
  MEMBER,
  MEMBERS,
  MODEL,
  PARTY,
  RECORD,
  SITE,
  SITES,
  Storage,
  USE,
  VERSION,
  anchoredBy,
  equal,
  equalContent,
  named,
} from "./storage.js";

const SUCCEEDED = 4;
const ACTIVE = 1;
const COSIGNERS = 80; // bits below their number in the facts of a head
const FIRST_MEMBER = 96; // bits below the first member there
const INLINE = 160; // members whose bits stand there
const MOST_STANDINGS = 256n; // changes of a member's standing that a file may show

/** [where, what holds] of a certificate by its section; throws Failure. */
export function* state(certificate) {
  if (certificate.state === null) {
    yield ["$.state", say("state.none")];
    return;
  }
  const { header, slots } = proved(certificate.state, "$.state");
  yield ["$.state.block", say("state.block", header)];
  yield* asStored(slots, certificate);
  slots.requireAllUsed();
  yield ["$.state", say("state.holds", header)];
}

function* asStored(slots, certificate) {
  const { network, job: stated, parties, result, model, logs } = certificate;
  const storage = new Storage(slots, network.consortium);
  same("$.network.jobRegistry", network.jobRegistry.toLowerCase(), storage.address("jobs"));
  yield ["$.network", say("state.network")];
  const job = storage.contract("jobs").of(BigInt(stated.id));
  for (const [name, place] of Object.entries(JOB)) {
    if (name !== "state") equal(`$.job.${name}`, stated[name], job.at(place), name === "purpose");
  }
  equal("$.job", SUCCEEDED, job.at(JOB.state));
  yield ["$.job", say("state.job")];
  allowed(storage, stated);
  yield ["$.job.algorithm", say("state.algorithm")];
  partiesOf(storage, certificate, job);
  yield ["$.parties", say("state.parties")];
  receiptKeys(storage, certificate);
  yield ["$.reconciliation.keys", say("state.receipts")];
  for (const party of parties) {
    equal("$.result.digest", result.digest, job.at(RECORD.attested).of(BigInt(party.site)));
  }
  yield ["$.result.digest", say("state.result")];
  if (model !== null) {
    modelOf(certificate, storage.contract("models").of(BigInt(model.id)));
    yield ["$.model", say("state.model")];
  }
  const asked = storage.consortium.at(BOOK.minimums).of(named("min-cosigners")).value;
  const needed = asked === 0n ? 1n : asked;
  for (const [number, log] of logs.entries()) {
    const counted = headOf(storage.contract("anchors"), log, `$.logs[${number}].anchored`);
    const told = { k: String(counted), of: String(needed) };
    yield [`$.logs[${number}].anchored`, say("state.head", told)];
  }
}

/** As the consortium has it by now: who forbids code and allows it again makes a new time. */
function allowed(storage, job) {
  const found = storage.consortium.at(BOOK.algorithms).of(BigInt(job.algorithm));
  const [since, until] = [ALGORITHM.fromBlock, ALGORITHM.untilBlock].map((at) => found.at(at).value);
  const start = BigInt(job.startedAt);
  if (!(since > 0n && since <= start && (until === 0n || until >= start))) {
    throw new Failure("$.job.algorithm", span(since, until), say("state.at", { block: String(start) }));
  }
}

function partiesOf(storage, { parties, job: stated }, job) {
  equal("$.parties", parties.length, job.at(RECORD.parties));
  const count = parties.reduce((sum, { datasets }) => sum + datasets.length, 0);
  equal("$.parties", count, job.at(RECORD.uses));
  const used = Array.from({ length: count }, (_, n) => job.at(RECORD.uses).item(n, 4)).map((use) => [
    use,
    use.at(USE.party).value,
  ]);
  for (const [number, party] of parties.entries()) {
    const where = `$.parties[${number}]`;
    const place = job.at(RECORD.parties).item(number, 2);
    equal(`${where}.site`, party.site, place.at(PARTY.site));
    equal(`${where}.role`, party.role, place.at(PARTY.role), true);
    const approved = job.at(RECORD.approvedAt).of(BigInt(party.site), [0, 0, 64]);
    equal(`${where}.approvedAt`, party.approvedAt, approved);
    identity(storage, party, stated, where);
    const own = used.filter(([, at]) => at === BigInt(number));
    same(`${where}.datasets`, party.datasets.length, own.length);
    for (const [position, dataset] of party.datasets.entries()) {
      const at = `${where}.datasets[${position}]`;
      datasetOf(storage, party.site, dataset, own[position][0], stated.startedAt, at);
    }
  }
}

function identity(storage, party, job, where) {
  const site = storage.contract("sites").at(SITES.sites).of(BigInt(party.site));
  equal(`${where}.member`, party.member, site.at(SITE.member));
  const operator = `0x${site.at(SITE.operator).value.toString(16).padStart(40, "0")}`;
  same(`${where}.operator`, party.operator.toLowerCase(), operator);
  const members = storage.contract("membership");
  const name = members.at(MEMBERS.members).of(BigInt(party.member)).at(MEMBER.name);
  const memberName = new TextEncoder().encode(party.memberName);
  equalContent(`${where}.memberName`, party.memberName, memberName, name);
  stood(members, party.member, BigInt(job.startedAt), `${where}.member`);
  keyOf(storage, party.site, party.requestKey, BigInt(job.endedAt), `${where}.requestKey`);
}

/** The member was active at the start; a suspension in that very block came after it. */
function stood(members, member, start, where) {
  const points = members.at(MEMBERS.standings).of(BigInt(member));
  const count = points.value;
  if (count > MOST_STANDINGS) {
    const most = say("state.standings.most", { most: String(MOST_STANDINGS) });
    throw new Failure(where, say("state.standings", { count: String(count) }), most);
  }
  let after = null;
  for (let number = count - 1n; number >= 0n; number -= 1n) {
    const point = points.item(number);
    const block = point.at(CHECKPOINT.block).value;
    const standing = point.at(CHECKPOINT.standing).value;
    // The contract has one for each block, in their order.
    if (after !== null && block >= after) {
      throw new Failure(where, say("state.order"), say("state.before", { block: String(after) }));
    }
    if (block <= start && standing === BigInt(ACTIVE)) return;
    if (block < start) break;
    after = block;
  }
  throw new Failure(where, say("state.no.member"), say("state.at", { block: String(start) }));
}

function keyOf(storage, site, stated, ended, where) {
  const [since, until] = requestKey(storage, site, stated, where);
  if (since > ended || (until > 0n && until <= ended)) {
    throw new Failure(`${where}.id`, span(since, until), say("state.at", { block: String(ended) }));
  }
}

/** Each was a request key of its site while the job ran. */
function receiptKeys(storage, { job, reconciliation }) {
  const [start, end] = [BigInt(job.startedAt), BigInt(job.endedAt)];
  for (const [number, stated] of reconciliation.keys.entries()) {
    const where = `$.reconciliation.keys[${number}]`;
    const [since, until] = requestKey(storage, stated.site, stated, where);
    if (since > end || (until > 0n && until <= start)) {
      throw new Failure(`${where}.id`, span(since, until), say("state.at", { block: String(end) }));
    }
  }
}

/** In which blocks the site had it: from the first until the second, 0n where it stands. */
function requestKey(storage, site, stated, where) {
  const key = storage.contract("sites").at(SITES.keys).of(BigInt(stated.id));
  equal(`${where}.id`, site, key.at(KEY.site));
  equal(`${where}.id`, "request", key.at(KEY.purpose), true);
  const [told, raw] = [stated.publicKey, unhex(stated.publicKey)];
  equalContent(`${where}.publicKey`, told, raw, key.at(KEY.publicKey));
  return [KEY.fromBlock, KEY.untilBlock].map((at) => key.at(at).value);
}

function datasetOf(storage, site, stated, use, startedAt, where) {
  equal(`${where}.dataset`, stated.dataset, use.at(USE.datasetId));
  equal(`${where}.version`, stated.version, use.at(USE.version));
  const datasets = storage.contract("datasets");
  const [id, start] = [BigInt(stated.dataset), BigInt(startedAt)];
  equal(`${where}.dataset`, site, datasets.at(DATASETS.datasets).of(id));
  const version = datasets.at(DATASETS.versions).of(id).of(BigInt(stated.version));
  for (const name of ["schemaDigest", "rowsRoot", "rows", "columns"]) {
    equal(`${where}.${name}`, stated[name], version.at(VERSION[name]));
  }
  const [since, until] = [VERSION.fromBlock, VERSION.untilBlock].map((at) => version.at(at).value);
  if (since > start || (until > 0n && until < start)) {
    throw new Failure(`${where}.version`, span(since, until), say("state.at", { block: String(start) }));
  }
  const { grant } = stated;
  equal(`${where}.grant`, grant === null ? 0 : grant.id, use.at(USE.grant));
  if (grant !== null) {
    const record = storage.contract("consents").of(BigInt(grant.id));
    grantOf(grant, record, start, `${where}.grant`);
  }
}

function grantOf(stated, record, start, where) {
  equal(`${where}.owner`, stated.owner, record.at(GRANT.owner));
  equal(`${where}.fromBlock`, stated.fromBlock, record.at(GRANT.fromBlock));
  for (const [name, told] of Object.entries(stated.terms)) {
    const [at, place] = [`${where}.terms.${name}`, record.at(GRANT[name])];
    if (!Array.isArray(told)) {
      equal(at, told, place);
      continue;
    }
    equal(at, told.length, place);
    for (const [number, item] of told.entries()) {
      equal(`${at}[${number}]`, item, place.item(number), name === "purposes");
    }
  }
  same(`${where}.state`, stated.state, "ACTIVE");
  for (const name of ["revokedAt", "amendedAt"]) {
    const ended = record.at(GRANT[name]).value;
    if (ended > 0n && ended < start) {
      throw new Failure(`${where}.state`, `${name} ${ended}`, say("nothing"));
    }
  }
  if (BigInt(stated.fromBlock) > start || record.at(GRANT.used).value === 0n) {
    throw new Failure(`${where}.state`, say("state.unused"), say("state.at", { block: String(start) }));
  }
}

function modelOf({ model: stated, job }, model) {
  equal("$.model.digest", stated.digest, model.at(MODEL.modelDigest));
  equal("$.model.id", job.id, model.at(MODEL.job));
  equal("$.model.block", stated.block, model.at(MODEL.fromBlock));
  equal("$.model.parents", stated.parents.length, model.at(MODEL.parents));
  for (const [number, parent] of stated.parents.entries()) {
    equal(`$.model.parents[${number}]`, parent, model.at(MODEL.parents).item(number));
  }
}

/** How many cosigned the head; each that the file names is among them. */
function headOf(anchors, { site, anchored }, where) {
  const facts = anchoredBy(anchors, site, anchored, where);
  for (const member of anchored.cosigners ?? []) {
    const place = Number(anchors.at(ANCHORS.numbers).of(BigInt(member)).value) - 1;
    if (!(place >= 0 && isCounted(anchors, site, anchored.size, facts, place))) {
      throw new Failure(`${where}.cosigners`, member, say("state.counted"));
    }
  }
  return (facts >> BigInt(COSIGNERS)) & 0xffffn;
}

function isCounted(anchors, site, size, facts, place) {
  if (place < INLINE) return ((facts >> BigInt(FIRST_MEMBER + place)) & 1n) === 1n;
  const [word, bit] = [Math.floor((place - INLINE) / FULL), (place - INLINE) % FULL];
  const more = anchors.at(ANCHORS.more).of(BigInt(site)).of(BigInt(size)).of(BigInt(word));
  return ((more.value >> BigInt(bit)) & 1n) === 1n;
}

function same(where, stated, stored) {
  if (stated !== stored) throw new Failure(where, stated, stored);
}

function span(since, until) {
  return say("state.span", { since: String(since), until: String(until) });
}
