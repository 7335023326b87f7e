// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Word} from "./Types.sol";

/// @title The address book and the rules of a consortium. One address configures a node.
interface IConsortium {
    error ConsortiumNotAuthority(address caller, address authority);
    error ConsortiumUnknownContract(Word name);
    error ConsortiumZeroAddress(Word name);
    error ConsortiumAlgorithmNotAllowed(bytes32 codeDigest);
    error ConsortiumAlgorithmAlreadyAllowed(bytes32 codeDigest);
    error ConsortiumSchemeNotAdmitted(Word scheme);
    error ConsortiumPurposeNotAllowed(Word purpose);
    error ConsortiumCodeMismatch(bytes32 found, bytes32 named);
    error ConsortiumUpgradeNotNamed(address caller, address consortium);

    event ContractSet(Word indexed name, address indexed at);
    event ConstitutionChanged(bytes32 indexed digest);
    event AlgorithmAllowed(bytes32 indexed codeDigest, string name);
    event AlgorithmForbidden(bytes32 indexed codeDigest);
    event SchemeAdmitted(Word indexed scheme);
    event SchemeWithdrawn(Word indexed scheme);
    event MinimumSet(Word indexed name, uint256 value);
    event PurposeAllowed(Word indexed purpose);
    event PurposeWithdrawn(Word indexed purpose);
    event ContractUpgraded(Word indexed name, address indexed implementation, bytes32 codeHash);
    event AuthorityMoved(address indexed from, address indexed to);

    /// @notice Who may change the consortium: the deployer until governance stands, the timelock after.
    function authority() external view returns (address);
    function moveAuthority(address to) external;
    /// @notice Whether the members govern or once did: the book's "timelock" is the authority or was. It stays so.
    function isFounded() external view returns (bool);
    /// @notice Reverts with ConsortiumNotAuthority unless `caller` is the authority.
    function requireAuthority(address caller) external view;

    function setContract(Word name, address at) external;
    /// @notice Address of a contract by name ("membership", "sites", "datasets", "consents", "jobs", "models", "anchors",
    /// "governor", "timelock", "reviews", "attestations", "disputes", "brake", "breakglass", "equivocations",
    /// "auditrequests"); reverts when unknown.
    function contractOf(Word name) external view returns (address);
    /// @notice The same; 0 where unknown.
    function findContract(Word name) external view returns (address);
    /// @notice By the authority: the only way to upgrade a contract of the book, or "consortium", this one. The vote
    /// names the code that shall run, not only the address where it is said to stand. An initialiser of the new
    /// version is another action of the same vote.
    /// @param codeHash keccak256 of the code at `implementation`, else ConsortiumCodeMismatch.
    function upgrade(Word name, address implementation, bytes32 codeHash) external;

    function setConstitution(bytes32 digest) external;
    function constitution() external view returns (bytes32);

    /// @notice Once `isFounded`, the book's "reviews" must know two reviews of the code.
    function allowAlgorithm(bytes32 codeDigest, string calldata name) external;
    function forbidAlgorithm(bytes32 codeDigest) external;
    function isAlgorithmAllowed(bytes32 codeDigest) external view returns (bool);
    /// @return name As given when it was last allowed.
    /// @return fromBlock When it was last allowed (0: never).
    /// @return untilBlock When it was forbidden (0: it stands).
    function algorithm(bytes32 codeDigest)
        external
        view
        returns (string memory name, uint64 fromBlock, uint64 untilBlock);

    /// @notice Cryptographic product schemes that jobs may use ("paillier"; "lattice" by vote).
    function admitScheme(Word scheme) external;
    function withdrawScheme(Word scheme) external;
    function isSchemeAdmitted(Word scheme) external view returns (bool);

    /// @notice Purposes that grants and jobs may name.
    function allowPurpose(Word purpose) external;
    function withdrawPurpose(Word purpose) external;
    function isPurposeAllowed(Word purpose) external view returns (bool);

    /// @notice Protocol minimums: "key-bits", "min-rows", enforced by the nodes; "pause-members", "pause-seconds" of
    /// the brake; "min-cosigners" of an anchored head; "audit-seconds" to answer an audit.
    function setMinimum(Word name, uint256 value) external;
    function minimum(Word name) external view returns (uint256);
}
