// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IAuditAnchor} from "../interfaces/IAuditAnchor.sol";
import {SiteId} from "../interfaces/Types.sol";
import {Founded} from "./Founded.sol";
import {Log} from "./Log.sol";
import {VM} from "./Vm.sol";

/// @title A site that anchors its log, and at times another one: shorter, longer, rewritten.
contract Archivist is Founded {
    uint256 private constant MOST = 48;

    SiteId public site;
    bytes32[] public leaves; // of the log that was begun with; anchored or not yet
    uint64 public anchored;
    uint64[] public sizes;
    bytes32[] public roots;
    string public wrong;
    uint256 private _operator = NODE + 1;

    constructor() {
        _deploy();
        _admit(1);
        _admit(2);
        site = _registerSite(1);
        write(3);
        anchor(3);
    }

    function write(uint256 more) public {
        for (uint256 i = 0; i < 1 + more % 8 && leaves.length < MOST; ++i) {
            leaves.push(keccak256(abi.encode(leaves.length, more)));
        }
    }

    /// @dev As an honest node does, to any size: only a larger one that is written may be taken.
    function anchor(uint256 seed) public {
        uint64 size = uint64(1 + seed % leaves.length);
        bool taken = _anchor(_first(size), _operator);
        if (taken != (size > anchored)) wrong = "an honest head was refused, or one that does not grow taken";
        if (taken) _note(size);
    }

    /// @dev A leaf that is anchored already becomes another; the proof is as good as it can be.
    function rewrite(uint256 seed, uint256 place) external {
        bytes32[] memory forged = _first(1 + seed % leaves.length);
        uint256 at = place % anchored;
        if (at >= forged.length) return;
        forged[at] = keccak256(abi.encode(forged[at], "forged"));
        if (_anchor(forged, _operator)) wrong = "a rewritten log was taken";
    }

    /// @dev Any bytes at all.
    function forge(uint64 size, bytes32 root, bytes32[] memory proof) external {
        VM.prank(_account(_operator));
        try anchors.anchor(site, size, root, proof, new IAuditAnchor.Cosignature[](0)) {
            wrong = "bytes from nowhere were taken";
        } catch {}
    }

    /// @dev A stranger, the member itself, or an operator that was replaced.
    function intrude(uint256 seed, uint256 person) external {
        uint256 other = 1 + person % (_operator - 1);
        if (_anchor(_first(1 + seed % leaves.length), other)) wrong = "somebody else anchored";
    }

    function changeOperator() external {
        address next = _account(_operator + 1);
        VM.prank(next);
        sites.agree(site);
        VM.prank(_account(1));
        try sites.changeOperator(site, next) {
            ++_operator;
        } catch {}
    }

    function suspend() external {
        VM.prank(consortium.authority());
        try membership.suspend(sites.memberOf(site)) {} catch {}
    }

    function head() external view returns (IAuditAnchor.Head memory) {
        return anchors.head(site);
    }

    function headAt(uint64 size) external view returns (IAuditAnchor.Head memory) {
        return anchors.headAt(site, size);
    }

    function count() external view returns (uint256) {
        return sizes.length;
    }

    function _anchor(bytes32[] memory log, uint256 operator) private returns (bool) {
        bytes32[] memory proof = new bytes32[](0);
        if (anchored != 0 && anchored < log.length) proof = Log.consistency(log, anchored);
        bytes32 root = Log.root(log, 0, log.length);
        VM.prank(_account(operator));
        try anchors.anchor(site, uint64(log.length), root, proof, new IAuditAnchor.Cosignature[](0)) {
            return true;
        } catch {
            return false;
        }
    }

    function _note(uint64 size) private {
        anchored = size;
        sizes.push(size);
        roots.push(Log.root(_first(size), 0, size));
    }

    function _first(uint256 size) private view returns (bytes32[] memory log) {
        log = new bytes32[](size);
        for (uint256 i = 0; i < size; ++i) {
            log[i] = leaves[i];
        }
    }
}
