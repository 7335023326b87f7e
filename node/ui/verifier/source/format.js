// The format of a certificate, as chain/certificate.py declares it, field by field.

import { any, exactly, list, map, object, orNull, record, text, whole } from "./shapes.js";
import { STATE } from "./slots.js";

export const HASH = text(66, /^0x[0-9a-f]{64}$/);
export const TEXT = text(1000);
export const NUMBER = whole(0);
const POSITIVE = whole(1);
const ADDRESS = text(42, /^0x[0-9a-fA-F]{40}$/);
const DECIMAL = text(78, /^(0|[1-9][0-9]{0,77})$/);
export const PUBLIC_KEY = text(2050, /^0x([0-9a-f]{2}){1,1024}$/);
export const BASE64 = text(200, /^[A-Za-z0-9+/]+={0,2}$/);
// Digits of any script, as the regular expressions of the Python side read them.
export const TIME = text(
  1000,
  /^\p{Nd}{4}-\p{Nd}\p{Nd}-\p{Nd}\p{Nd}T\p{Nd}\p{Nd}:\p{Nd}\p{Nd}:\p{Nd}\p{Nd}(\.\p{Nd}{1,9})?(Z|[+-]\p{Nd}\p{Nd}:\p{Nd}\p{Nd})$/u,
);

export const SECTIONS = [
  "network",
  "job",
  "specification",
  "parties",
  "result",
  "model",
  "steps",
  "logs",
  "reconciliation",
  "state",
  "issued",
];

const TERMS = record({
  datasetId: HASH,
  fromVersion: NUMBER,
  toVersion: NUMBER,
  grantee: HASH,
  purposes: list(TEXT, 1, 8),
  algorithms: list(HASH, 1, 8),
  until: DECIMAL,
  uses: NUMBER,
  minParties: NUMBER,
  minRows: DECIMAL,
  productBudget: DECIMAL,
  epsilonMicro: DECIMAL,
  columnRules: HASH,
  amends: HASH,
  nonce: DECIMAL,
});

const GRANT = record({ id: HASH, owner: HASH, terms: TERMS, fromBlock: POSITIVE, state: TEXT });

const DATASET = record({
  dataset: HASH,
  version: POSITIVE,
  schemaDigest: HASH,
  rowsRoot: HASH,
  rows: NUMBER,
  columns: NUMBER,
  grant: orNull(GRANT),
});

const PARTY = record({
  site: HASH,
  member: HASH,
  memberName: TEXT,
  role: TEXT,
  operator: ADDRESS,
  requestKey: record({ id: HASH, publicKey: PUBLIC_KEY }),
  approvedAt: POSITIVE,
  datasets: list(DATASET),
});

const LOG = record({
  site: HASH,
  anchored: record({
    size: POSITIVE,
    root: HASH,
    block: POSITIVE,
    txHash: HASH,
    cosigners: list(HASH, 0, 1000),
    of: NUMBER,
  }),
  entries: list(
    record({
      index: NUMBER,
      leafHash: HASH,
      entry: object,
      disclosed: object,
      proof: list(HASH, 0, 64),
    }),
  ),
});

/** Throws Failure at the first place where a value is no certificate. */
export const certificateShape = record({
  version: exactly(3),
  network: record({ chainId: POSITIVE, consortium: ADDRESS, jobRegistry: ADDRESS }),
  job: record({
    id: HASH,
    proposer: HASH,
    member: HASH,
    specification: HASH,
    algorithm: HASH,
    purpose: TEXT,
    deadline: NUMBER,
    proposedAt: POSITIVE,
    approvedAt: POSITIVE,
    startedAt: POSITIVE,
    endedAt: POSITIVE,
  }),
  specification: object,
  parties: list(PARTY, 1, 16),
  result: record({
    digest: HASH,
    attempt: POSITIVE,
    parts: list(record({ site: HASH, digest: HASH })),
    metrics: map(any, any),
  }),
  model: orNull(record({ id: HASH, digest: HASH, parents: list(HASH), block: POSITIVE })),
  steps: list(
    record({
      step: TEXT,
      attempt: POSITIVE,
      started: TIME,
      finished: TIME,
      outputs: map(HASH, HASH),
    }),
    1,
  ),
  logs: list(LOG),
  reconciliation: record({
    agrees: exactly(true),
    messages: NUMBER,
    approvals: NUMBER,
    grantUses: NUMBER,
    results: NUMBER,
    bytes: NUMBER,
    digest: HASH,
    keys: list(record({ site: HASH, id: HASH, publicKey: PUBLIC_KEY }), 0, 1000),
  }),
  state: orNull(STATE),
  issued: record({ by: HASH, at: TIME, keyId: HASH }),
  sections: record(Object.fromEntries(SECTIONS.map((name) => [name, HASH]))),
  signatures: list(record({ site: HASH, keyId: HASH, signature: BASE64 }), 1, 16),
});
