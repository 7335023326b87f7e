// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Word} from "./interfaces/Types.sol";

// The names of the contracts in the consortium's address book.
Word constant MEMBERSHIP = Word.wrap("membership");
Word constant SITES = Word.wrap("sites");
Word constant DATASETS = Word.wrap("datasets");
Word constant CONSENTS = Word.wrap("consents");
Word constant JOBS = Word.wrap("jobs");
Word constant MODELS = Word.wrap("models");
Word constant ANCHORS = Word.wrap("anchors");
Word constant GOVERNOR = Word.wrap("governor");
Word constant TIMELOCK = Word.wrap("timelock");
Word constant REVIEWS = Word.wrap("reviews");
Word constant ATTESTATIONS = Word.wrap("attestations");
Word constant DISPUTES = Word.wrap("disputes");
Word constant BRAKE = Word.wrap("brake");
Word constant BREAKGLASS = Word.wrap("breakglass");
// The consortium itself, which the book does not hold: it is the book.
Word constant CONSORTIUM = Word.wrap("consortium");

// Purposes of a site's keys that the contracts look at.
Word constant REQUEST_KEY = Word.wrap("request");
Word constant ANCHOR_KEY = Word.wrap("anchor");

// The purpose of a grant that was opened by breaking the glass.
Word constant EMERGENCY = Word.wrap("emergency");

// The consortium's minimums that the contracts look at.
Word constant PAUSE_MEMBERS = Word.wrap("pause-members");
Word constant PAUSE_SECONDS = Word.wrap("pause-seconds");
Word constant MIN_COSIGNERS = Word.wrap("min-cosigners");
Word constant AUDIT_SECONDS = Word.wrap("audit-seconds");

// Roles of a party.
Word constant GUEST = Word.wrap("guest");
Word constant HOST = Word.wrap("host");
Word constant ARBITER = Word.wrap("arbiter");
