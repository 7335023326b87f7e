// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {UUPSUpgradeable} from "@openzeppelin/contracts-upgradeable/proxy/utils/UUPSUpgradeable.sol";

import {CONSORTIUM, REVIEWS, TIMELOCK} from "./Names.sol";
import {IConsortium} from "./interfaces/IConsortium.sol";
import {IReviews} from "./interfaces/IReviews.sol";
import {Word} from "./interfaces/Types.sol";

/// @title The address book and the rules of a consortium.
/// @notice Every contract of the book is upgraded through here and nowhere else, by naming the code.
contract Consortium is IConsortium, UUPSUpgradeable {
    struct Algorithm {
        string name;
        uint64 fromBlock;
        uint64 untilBlock;
    }

    /// @custom:storage-location erc7201:fatechain.storage.Consortium
    struct ConsortiumStorage {
        address authority;
        bytes32 constitution;
        mapping(Word name => address) contracts;
        mapping(bytes32 codeDigest => Algorithm) algorithms;
        mapping(Word scheme => bool) schemes;
        mapping(Word name => uint256) minimums;
        mapping(Word purpose => bool) purposes;
        bool isFounded; // the members govern or did: the authority was the book's timelock once
    }

    // keccak256(abi.encode(uint256(keccak256("fatechain.storage.Consortium")) - 1)) & ~bytes32(uint256(0xff))
    bytes32 private constant CONSORTIUM_SLOT = 0x0f9f0fb2f906ef66f43320d0f1af6e64947a351dc76eea45b5476e0509539800;

    /// @custom:oz-upgrades-unsafe-allow constructor
    constructor() {
        _disableInitializers();
    }

    modifier onlyAuthority() {
        requireAuthority(msg.sender);
        _;
    }

    function initialize(address authority_) external initializer {
        _moveAuthority(authority_);
    }

    // ------------------------------------------------------------------ authority

    function authority() external view returns (address) {
        return _state().authority;
    }

    function moveAuthority(address to) external onlyAuthority {
        _moveAuthority(to);
    }

    /// @dev One that was founded under earlier code has no note of it yet.
    function isFounded() public view returns (bool) {
        ConsortiumStorage storage $ = _state();
        return $.isFounded || $.authority == $.contracts[TIMELOCK];
    }

    function requireAuthority(address caller) public view {
        address found = _state().authority;
        if (caller != found) revert ConsortiumNotAuthority(caller, found);
    }

    // ------------------------------------------------------------------ address book

    function setContract(Word name, address at) external onlyAuthority {
        if (at == address(0)) revert ConsortiumZeroAddress(name);
        _state().contracts[name] = at;
        emit ContractSet(name, at);
        _noteFounding();
    }

    function contractOf(Word name) public view returns (address at) {
        at = findContract(name);
        if (at == address(0)) revert ConsortiumUnknownContract(name);
    }

    function findContract(Word name) public view returns (address) {
        return _state().contracts[name];
    }

    function upgrade(Word name, address implementation, bytes32 codeHash) external onlyAuthority {
        bytes32 found = implementation.codehash;
        if (found != codeHash) revert ConsortiumCodeMismatch(found, codeHash);
        address proxy = name == CONSORTIUM ? address(this) : contractOf(name);
        emit ContractUpgraded(name, implementation, codeHash);
        UUPSUpgradeable(proxy).upgradeToAndCall(implementation, "");
    }

    // ------------------------------------------------------------------ rules

    function setConstitution(bytes32 digest) external onlyAuthority {
        _state().constitution = digest;
        emit ConstitutionChanged(digest);
    }

    function constitution() external view returns (bytes32) {
        return _state().constitution;
    }

    function allowAlgorithm(bytes32 codeDigest, string calldata name) external onlyAuthority {
        if (isAlgorithmAllowed(codeDigest)) revert ConsortiumAlgorithmAlreadyAllowed(codeDigest);
        // The founders' own set is what the members sign up to; from the hand-over on code is read before it runs, also
        // where the members put another timelock into the book, or another authority above them.
        if (isFounded()) IReviews(contractOf(REVIEWS)).requireReviewed(codeDigest);
        _state().algorithms[codeDigest] = Algorithm(name, uint64(block.number), 0);
        emit AlgorithmAllowed(codeDigest, name);
    }

    function forbidAlgorithm(bytes32 codeDigest) external onlyAuthority {
        if (!isAlgorithmAllowed(codeDigest)) revert ConsortiumAlgorithmNotAllowed(codeDigest);
        _state().algorithms[codeDigest].untilBlock = uint64(block.number);
        emit AlgorithmForbidden(codeDigest);
    }

    function isAlgorithmAllowed(bytes32 codeDigest) public view returns (bool) {
        Algorithm storage found = _state().algorithms[codeDigest];
        return found.fromBlock != 0 && found.untilBlock == 0;
    }

    function algorithm(bytes32 codeDigest)
        external
        view
        returns (string memory name, uint64 fromBlock, uint64 untilBlock)
    {
        Algorithm storage found = _state().algorithms[codeDigest];
        return (found.name, found.fromBlock, found.untilBlock);
    }

    function admitScheme(Word scheme) external onlyAuthority {
        _state().schemes[scheme] = true;
        emit SchemeAdmitted(scheme);
    }

    function withdrawScheme(Word scheme) external onlyAuthority {
        if (!isSchemeAdmitted(scheme)) revert ConsortiumSchemeNotAdmitted(scheme);
        _state().schemes[scheme] = false;
        emit SchemeWithdrawn(scheme);
    }

    function isSchemeAdmitted(Word scheme) public view returns (bool) {
        return _state().schemes[scheme];
    }

    function allowPurpose(Word purpose) external onlyAuthority {
        _state().purposes[purpose] = true;
        emit PurposeAllowed(purpose);
    }

    function withdrawPurpose(Word purpose) external onlyAuthority {
        if (!isPurposeAllowed(purpose)) revert ConsortiumPurposeNotAllowed(purpose);
        _state().purposes[purpose] = false;
        emit PurposeWithdrawn(purpose);
    }

    function isPurposeAllowed(Word purpose) public view returns (bool) {
        return _state().purposes[purpose];
    }

    function setMinimum(Word name, uint256 value) external onlyAuthority {
        _state().minimums[name] = value;
        emit MinimumSet(name, value);
    }

    function minimum(Word name) external view returns (uint256) {
        return _state().minimums[name];
    }

    // ------------------------------------------------------------------ inside

    /// @dev By `upgrade` alone, which calls from outside: the code was named.
    function _authorizeUpgrade(address) internal view override {
        if (msg.sender != address(this)) revert ConsortiumUpgradeNotNamed(msg.sender, address(this));
    }

    function _moveAuthority(address to) private {
        if (to == address(0)) revert ConsortiumZeroAddress(Word.wrap("authority"));
        ConsortiumStorage storage $ = _state();
        emit AuthorityMoved($.authority, to);
        $.authority = to;
        _noteFounding();
    }

    function _noteFounding() private {
        if (isFounded()) _state().isFounded = true;
    }

    function _state() private pure returns (ConsortiumStorage storage $) {
        assembly {
            $.slot := CONSORTIUM_SLOT
        }
    }
}
