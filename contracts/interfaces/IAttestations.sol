// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {MemberId, Word} from "./Types.sol";

/// @title What somebody whom the consortium named vouches for: an audit passed, a certificate held, until a time.
/// @notice A subject is usually a member (its id). The statement itself stays off the chain; here are its kind and digest.
interface IAttestations {
    /// @dev One issuer's word on one subject and kind; a later word of the same issuer takes its place.
    struct Attestation {
        bytes32 digest; // of the statement
        uint64 fromBlock; // 0: there is none
        uint64 until; // block time, exclusive
        uint64 revokedAt; // block; 0: not revoked
    }

    error AttestationMissing(bytes32 subject, Word kind);
    error AttestationNotIssuer(Word kind, address caller);
    error AttestationIssuerTaken(Word kind, address issuer);
    error AttestationIssuerUnknown(Word kind, address issuer);
    error AttestationOwnIssuer(bytes32 subject, address issuer);
    error AttestationExpired(bytes32 subject, Word kind, uint64 until);
    error AttestationTooManyIssuers(Word kind, uint256 found, uint256 allowed);
    error AttestationTooManyKinds(uint256 found, uint256 allowed);
    error AttestationZero(string what);

    event AttestationIssuerNamed(Word indexed kind, address indexed issuer);
    event AttestationIssuerRemoved(Word indexed kind, address indexed issuer);
    event AttestationRequirementSet(Word indexed kind, bool required);
    event AttestationGiven(
        bytes32 indexed subject, Word indexed kind, address indexed issuer, bytes32 digest, uint64 until
    );
    event AttestationRevoked(bytes32 indexed subject, Word indexed kind, address indexed issuer);

    /// @notice By the authority. What an issuer said before it was removed counts again when it is named again.
    function nameIssuer(Word kind, address issuer) external;
    /// @notice By the authority: all that this issuer attested of this kind counts no more.
    function removeIssuer(Word kind, address issuer) external;
    /// @notice By the authority: whether every party to a job needs an attestation of this kind. At most 8 kinds.
    function setRequired(Word kind, bool required) external;

    /// @notice By an issuer named for the kind; nobody attests its own institution (its member's account, past or present,
    /// or an operator of its sites).
    function attest(bytes32 subject, Word kind, bytes32 digest, uint64 until) external;
    /// @notice By the issuer, still named or not.
    function revoke(bytes32 subject, Word kind) external;

    /// @notice Whether an issuer that is still named attested this, unexpired, unrevoked, and not of itself.
    function isAttested(bytes32 subject, Word kind) external view returns (bool);
    /// @notice Reverts with the first required kind that the member is not attested of.
    function requireAll(MemberId subject) external view;
    /// @dev All zero where there is none.
    function attestation(bytes32 subject, Word kind, address issuer) external view returns (Attestation memory);
    function issuers(Word kind) external view returns (address[] memory);
    function requiredKinds() external view returns (Word[] memory);
}
