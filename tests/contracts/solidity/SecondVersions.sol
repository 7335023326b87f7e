// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {ConsentRegistry} from "ConsentRegistry.sol";
import {Consortium} from "Consortium.sol";

/// @dev A later version with state of its own: what the first one wrote stays where it is.
contract ConsentRegistryV2 is ConsentRegistry {
    /// @custom:storage-location erc7201:fatechain.storage.ConsentRegistryV2
    struct ConsentRegistryV2Storage {
        uint256 pauses;
    }

    // keccak256(abi.encode(uint256(keccak256("fatechain.storage.ConsentRegistryV2")) - 1)) & ~bytes32(uint256(0xff))
    bytes32 private constant SLOT = 0x283bdb354306d4d1dcb49a8b4c14b7b4a2be12504fbfa8e5000636661cb9ce00;

    function initializeV2(uint256 pauses_) external reinitializer(2) {
        _second().pauses = pauses_;
    }

    function pauses() external view returns (uint256) {
        return _second().pauses;
    }

    function _second() private pure returns (ConsentRegistryV2Storage storage $) {
        assembly {
            $.slot := SLOT
        }
    }
}

contract ConsortiumV2 is Consortium {
    function version() external pure returns (uint256) {
        return 2;
    }
}
