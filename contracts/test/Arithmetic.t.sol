// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {IVotes} from "@openzeppelin/contracts/governance/utils/IVotes.sol";

import {ConsortiumGovernor} from "../ConsortiumGovernor.sol";
import {MerkleLog} from "../libraries/MerkleLog.sol";
import {Pages} from "../libraries/Pages.sol";
import {Log} from "./Log.sol";
import {VM} from "./Vm.sol";

/// @title As many votes as the prover likes, in place of a membership.
contract Supply {
    uint256 public getPastTotalSupply_;

    function set(uint256 supply) external {
        getPastTotalSupply_ = supply;
    }

    function getPastTotalSupply(uint256) external view returns (uint256) {
        return getPastTotalSupply_;
    }
}

/// @title What is proved for all numbers in the range that each check names: functions that begin with check_ are halmos's.
contract QuorumTest {
    uint256 private constant MOST = 2 ** 16; // members

    Supply private _supply;
    ConsortiumGovernor private _governor;

    function setUp() external {
        address[] memory nobody = new address[](0);
        _supply = new Supply();
        TimelockController timelock = new TimelockController(0, nobody, nobody, address(this));
        _governor = new ConsortiumGovernor(IVotes(address(_supply)), timelock, 1, 1, 3, 1);
        VM.roll(100);
    }

    function check_two_thirds_rounded_up_or_the_minimum(uint256 members) external {
        VM.assume(members < MOST);
        uint256 quorum = _quorum(members);
        bool isTwoThirds = 3 * quorum >= 2 * members && 3 * quorum < 2 * members + 3;
        assert(quorum >= 3 && (quorum == 3 || isTwoThirds));
        assert(3 * quorum >= 2 * members);
    }

    function check_a_quorum_is_more_than_half_and_can_be_reached(uint256 members) external {
        VM.assume(members >= 1 && members < MOST);
        uint256 quorum = _quorum(members);
        assert(2 * quorum > members);
        assert(quorum <= (members < 3 ? 3 : members));
    }

    function check_one_member_more_never_needs_fewer_votes(uint256 members) external {
        VM.assume(members < MOST);
        uint256 before = _quorum(members);
        assert(before <= _quorum(members + 1));
    }

    function _quorum(uint256 members) private returns (uint256) {
        _supply.set(members);
        return _governor.quorum(50);
    }
}

contract PagesTest {
    using Pages for bytes32[];

    bytes32[] private _list;

    function setUp() external {
        for (uint256 i = 1; i <= 4; ++i) {
            _list.push(bytes32(i));
        }
    }

    /// @dev Lengths are tried one by one, as the prover allocates no memory of unknown size; beyond the list's they are
    /// all numbers that there are.
    function check_a_page_lies_within_the_list(uint256 beyond, uint256 any) external view {
        VM.assume(beyond >= 4);
        assert(_list.slice(beyond, any).length == 0);
        for (uint256 offset = 0; offset < 4; ++offset) {
            for (uint256 limit = 0; limit < 4; ++limit) {
                _check(offset, limit);
            }
            _check(offset, beyond);
        }
    }

    function _check(uint256 offset, uint256 limit) private view {
        bytes32[] memory page = _list.slice(offset, limit);
        assert(page.length == (limit < 4 - offset ? limit : 4 - offset));
        for (uint256 i = 0; i < page.length; ++i) {
            assert(page[i] == bytes32(offset + i + 1));
        }
    }
}

contract MerkleLogTest {
    uint256 private constant MOST = 8; // leaves

    // ------------------------------------------------------------------ any index, any size, any hashes

    function check_an_inclusion_proof_has_one_length(uint256 size, uint256 index, bytes32[4] calldata hashes) external view {
        VM.assume(size <= MOST);
        for (uint256 length = 0; length <= 4; ++length) {
            if (this.included(hashes[0], size, index, hashes[1], _cut(hashes, length))) {
                assert(index < size);
                assert(length == _inclusionLength(index, size));
            }
        }
    }

    function check_a_smaller_or_empty_log_extends_nothing(uint256 old, uint256 size, bytes32[4] calldata hashes) external view {
        VM.assume(old <= MOST && size <= MOST);
        if (this.consistent(hashes[0], old, hashes[1], size, _cut(hashes, 2))) assert(old != 0 && old <= size);
    }

    function check_a_log_of_the_same_size_is_the_same_log(uint256 size, bytes32 from, bytes32 to, bytes32[4] calldata hashes)
        external
        view
    {
        VM.assume(size >= 1 && size <= MOST);
        assert(!this.consistent(from, size, to, size, _cut(hashes, 1)));
        assert(this.consistent(from, size, to, size, _cut(hashes, 0)) == (from == to));
    }

    // ------------------------------------------------------------------ whatever the leaves are

    function check_every_leaf_is_found_by_its_path(bytes32[8] calldata leaves) external view {
        for (uint256 size = 1; size <= MOST; ++size) {
            bytes32[] memory log = _first(leaves, size);
            bytes32 root = Log.root(log, 0, size);
            for (uint256 index = 0; index < size; ++index) {
                assert(this.included(root, size, index, leaves[index], Log.inclusion(log, index)));
            }
        }
    }

    function check_every_log_is_extended_by_its_proof(bytes32[8] calldata leaves) external view {
        for (uint256 size = 2; size <= MOST; ++size) {
            bytes32[] memory log = _first(leaves, size);
            bytes32 root = Log.root(log, 0, size);
            for (uint256 old = 1; old < size; ++old) {
                bytes32 before = Log.root(log, 0, old);
                assert(this.consistent(before, old, root, size, Log.consistency(log, old)));
            }
        }
    }

    // ------------------------------------------------------------------ inside

    function included(bytes32 root, uint256 size, uint256 index, bytes32 leaf, bytes32[] calldata proof)
        external
        view
        returns (bool)
    {
        return MerkleLog.verifyInclusion(root, size, index, leaf, proof);
    }

    function consistent(bytes32 from, uint256 oldSize, bytes32 to, uint256 newSize, bytes32[] calldata proof)
        external
        view
        returns (bool)
    {
        return MerkleLog.verifyConsistency(from, oldSize, to, newSize, proof);
    }

    /// @dev Length of PATH(index, size), RFC 6962 § 2.1.1.
    function _inclusionLength(uint256 index, uint256 size) private pure returns (uint256) {
        if (size == 1) return 0;
        uint256 k = size > 4 ? 4 : size > 2 ? 2 : 1;
        return 1 + (index < k ? _inclusionLength(index, k) : _inclusionLength(index - k, size - k));
    }

    function _cut(bytes32[4] calldata hashes, uint256 length) private pure returns (bytes32[] memory proof) {
        proof = new bytes32[](length);
        for (uint256 i = 0; i < length; ++i) {
            proof[i] = hashes[i];
        }
    }

    function _first(bytes32[8] calldata leaves, uint256 size) private pure returns (bytes32[] memory log) {
        log = new bytes32[](size);
        for (uint256 i = 0; i < size; ++i) {
            log[i] = leaves[i];
        }
    }
}
