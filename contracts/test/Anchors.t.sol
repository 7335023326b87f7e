// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IAuditAnchor} from "../interfaces/IAuditAnchor.sol";
import {Archivist} from "./Archivist.sol";

/// @title Heads never shrink, and what was anchored stays.
contract AnchorsTest {
    Archivist private _archivist;

    function setUp() external {
        _archivist = new Archivist();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_archivist);
    }

    function invariant_heads_only_grow_and_stay() external view {
        require(bytes(_archivist.wrong()).length == 0, _archivist.wrong());
        require(_archivist.head().size == _archivist.anchored(), "the head is not the last that was anchored");
        uint64 last = 0;
        for (uint256 i = 0; i < _archivist.count(); ++i) {
            uint64 size = _archivist.sizes(i);
            require(size > last, "a head shrank");
            IAuditAnchor.Head memory found = _archivist.headAt(size);
            require(found.root == _archivist.roots(i) && found.size == size, "a head changed");
            last = size;
        }
    }

    function test_the_archivist_grows_a_log() external {
        _archivist.write(7);
        _archivist.write(7);
        _archivist.anchor(10);
        _archivist.rewrite(15, 2);
        _archivist.anchor(15);
        require(_archivist.count() == 3 && _archivist.head().size == 16, "it does not");
    }
}
