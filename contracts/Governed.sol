// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {UUPSUpgradeable} from "@openzeppelin/contracts-upgradeable/proxy/utils/UUPSUpgradeable.sol";

import {IConsortium} from "./interfaces/IConsortium.sol";
import {Word} from "./interfaces/Types.sol";

/// @title A contract of a consortium: it knows the consortium's address and nothing else.
/// @notice Other contracts are looked up by name when they are needed; it is upgraded through the consortium alone.
abstract contract Governed is UUPSUpgradeable {
    /// @custom:storage-location erc7201:fatechain.storage.Governed
    struct GovernedStorage {
        IConsortium consortium;
    }

    // keccak256(abi.encode(uint256(keccak256("fatechain.storage.Governed")) - 1)) & ~bytes32(uint256(0xff))
    bytes32 private constant GOVERNED_SLOT = 0x9f451626736b3aade7bb10fb6604aa93c4ce34e34d056b3845331ae4eb4b0d00;

    /// @custom:oz-upgrades-unsafe-allow constructor
    constructor() {
        _disableInitializers();
    }

    modifier onlyAuthority() {
        _consortium().requireAuthority(msg.sender);
        _;
    }

    /// @notice The consortium that this contract belongs to.
    function consortium() external view returns (IConsortium) {
        return _consortium();
    }

    // solhint-disable-next-line func-name-mixedcase
    function __Governed_init(address consortium_) internal onlyInitializing {
        if (consortium_ == address(0)) revert IConsortium.ConsortiumZeroAddress(Word.wrap("consortium"));
        _governed().consortium = IConsortium(consortium_);
    }

    function _consortium() internal view returns (IConsortium) {
        return _governed().consortium;
    }

    function _contractOf(Word name) internal view returns (address) {
        return _consortium().contractOf(name);
    }

    /// @dev By `Consortium.upgrade`, which is the authority's and names the code.
    function _authorizeUpgrade(address) internal view override {
        address book = address(_consortium());
        if (msg.sender != book) revert IConsortium.ConsortiumUpgradeNotNamed(msg.sender, book);
    }

    function _governed() private pure returns (GovernedStorage storage $) {
        assembly {
            $.slot := GOVERNED_SLOT
        }
    }
}
