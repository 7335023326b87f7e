// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {SiteId} from "../interfaces/Types.sol";

/// @title The EIP-712 signature of a log's head; node/audit/account_key.py makes and checks the same.
library SignedHead {
    bytes32 private constant DOMAIN_TYPE =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant NAME = keccak256("FATE-Chain Checkpoint");
    bytes32 private constant VERSION = keccak256("1");
    bytes32 private constant TYPE = keccak256("Checkpoint(bytes32 logId,uint64 size,bytes32 root,uint64 time)");
    uint256 private constant HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;

    /// @dev EIP-712's encoding word by word, so that it is hashed where it stands.
    struct Message {
        bytes32 typeHash;
        SiteId logId;
        uint64 size;
        bytes32 root;
        uint64 time;
    }

    /// @notice The separator for signatures made to the AuditAnchor at `anchors`. Made anew each time, which is less than
    /// reading it from storage, and right after a fork of the chain.
    function domain(address anchors) internal view returns (bytes32 separator) {
        (bytes32 type_, bytes32 name, bytes32 version) = (DOMAIN_TYPE, NAME, VERSION);
        assembly ("memory-safe") {
            // 160 bytes above the free pointer, which stays where it is.
            let at := mload(0x40)
            mstore(at, type_)
            mstore(add(at, 0x20), name)
            mstore(add(at, 0x40), version)
            mstore(add(at, 0x60), chainid())
            mstore(add(at, 0x80), anchors)
            separator := keccak256(at, 0xa0)
        }
    }

    function message(SiteId site, uint64 size, bytes32 root, uint64 time) internal pure returns (Message memory) {
        return Message(TYPE, site, size, root, time);
    }

    /// @notice What is signed of the message.
    function digest(bytes32 domain_, Message memory said) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            // 66 bytes above the free pointer, which stays where it is.
            let at := mload(0x40)
            mstore(at, hex"1901")
            mstore(add(at, 0x02), domain_)
            mstore(add(at, 0x22), keccak256(said, 0xa0))
            hash := keccak256(at, 0x42)
        }
    }

    /// @notice Who signed (EIP-2098); 0 where the bytes recover to nobody or have the higher s.
    function signer(bytes32 digest_, bytes32 r, bytes32 vs) internal view returns (address found) {
        assembly ("memory-safe") {
            let s := shr(1, shl(1, vs))
            if iszero(gt(s, HALF_ORDER)) {
                let at := mload(0x40)
                mstore(at, digest_)
                mstore(add(at, 0x20), add(shr(255, vs), 27))
                mstore(add(at, 0x40), r)
                mstore(add(at, 0x60), s)
                // It answers with nothing where there is nobody: then the zero stays.
                mstore(0x00, 0)
                pop(staticcall(gas(), 0x01, at, 0x80, 0x00, 0x20))
                found := mload(0x00)
            }
        }
    }
}
