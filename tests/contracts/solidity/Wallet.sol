// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

/// @dev A member's account that is a contract: what it was told to approve is signed (ERC-1271).
contract Wallet {
    mapping(bytes32 digest => bool) private _approved;

    function approve(bytes32 digest) external {
        _approved[digest] = true;
    }

    function execute(address target, bytes calldata data) external {
        (bool done, bytes memory answer) = target.call(data);
        require(done, string(answer));
    }

    function isValidSignature(bytes32 digest, bytes calldata) external view returns (bytes4) {
        return _approved[digest] ? this.isValidSignature.selector : bytes4(0);
    }
}
