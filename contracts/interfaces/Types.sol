// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

/// @dev Identifiers are keccak256(abi.encode(chain id, registry, owner, nonce)) where the owner chooses the nonce once:
/// an id is known before its transaction is mined, and a repeated transaction is refused by name.
type MemberId is bytes32;
type SiteId is bytes32;
type KeyId is bytes32;
type DatasetId is bytes32;
type GrantId is bytes32;
type JobId is bytes32;
type ModelId is bytes32;
type DisputeId is bytes32;
type ChallengeId is bytes32;
type RequestId is bytes32;

/// @dev Short ASCII words (purposes, key purposes, contract names) left-aligned in 32 bytes, so that an explorer can read them.
type Word is bytes32;

// Comparison by ==: ids of different kinds do not compare by accident.
using {_equalMemberId as ==, _unequalMemberId as !=} for MemberId global;
using {_equalSiteId as ==, _unequalSiteId as !=} for SiteId global;
using {_equalDatasetId as ==, _unequalDatasetId as !=} for DatasetId global;
using {_equalGrantId as ==, _unequalGrantId as !=} for GrantId global;
using {_equalWord as ==, _unequalWord as !=} for Word global;

function _equalMemberId(MemberId a, MemberId b) pure returns (bool) {
    return MemberId.unwrap(a) == MemberId.unwrap(b);
}

function _unequalMemberId(MemberId a, MemberId b) pure returns (bool) {
    return MemberId.unwrap(a) != MemberId.unwrap(b);
}

function _equalSiteId(SiteId a, SiteId b) pure returns (bool) {
    return SiteId.unwrap(a) == SiteId.unwrap(b);
}

function _unequalSiteId(SiteId a, SiteId b) pure returns (bool) {
    return SiteId.unwrap(a) != SiteId.unwrap(b);
}

function _equalDatasetId(DatasetId a, DatasetId b) pure returns (bool) {
    return DatasetId.unwrap(a) == DatasetId.unwrap(b);
}

function _unequalDatasetId(DatasetId a, DatasetId b) pure returns (bool) {
    return DatasetId.unwrap(a) != DatasetId.unwrap(b);
}

function _equalGrantId(GrantId a, GrantId b) pure returns (bool) {
    return GrantId.unwrap(a) == GrantId.unwrap(b);
}

function _unequalGrantId(GrantId a, GrantId b) pure returns (bool) {
    return GrantId.unwrap(a) != GrantId.unwrap(b);
}

function _equalWord(Word a, Word b) pure returns (bool) {
    return Word.unwrap(a) == Word.unwrap(b);
}

function _unequalWord(Word a, Word b) pure returns (bool) {
    return Word.unwrap(a) != Word.unwrap(b);
}
