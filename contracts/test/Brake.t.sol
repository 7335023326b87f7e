// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";

import {Brake} from "../Brake.sol";
import {Consortium} from "../Consortium.sol";
import {Membership} from "../Membership.sol";
import {Word} from "../interfaces/Types.sol";
import {VM} from "./Vm.sol";

/// @title An account that agrees to everything: the prover makes no signatures.
contract Agreeable is IERC1271 {
    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) {
        return IERC1271.isValidSignature.selector;
    }
}

/// @title Who pulls, and when, is any: m different voices within an hour pull the brake, and nothing else does.
/// @notice The first to pull is always the same: the members are alike.
contract BrakeTest {
    uint64 private constant START = 1_800_000_000;
    uint256 private constant VOICE = 1 hours;

    Consortium private _consortium;
    Membership private _membership;
    Brake private _brake;
    address[3] private _accounts;

    function setUp() external {
        VM.warp(START);
        VM.roll(100);
        _consortium = Consortium(_proxy(address(new Consortium()), address(this)));
        _membership = Membership(_proxy(address(new Membership()), address(_consortium)));
        _brake = Brake(_proxy(address(new Brake()), address(_consortium)));
        _consortium.setContract(Word.wrap("membership"), address(_membership));
        for (uint256 i = 0; i < 3; ++i) {
            _accounts[i] = address(new Agreeable());
            _membership.admit(_accounts[i], "member", i, "");
        }
    }

    function check_two_different_members_within_an_hour_pull_it(uint256 second, uint64 later) external {
        VM.assume(second < 3 && later < 30 days);
        _pull(0);
        assert(!_brake.isPaused());
        VM.warp(START + later);
        _pull(second);
        assert(_brake.isPaused() == (second != 0 && later < VOICE));
    }

    function check_three_are_needed_where_the_rule_says_three(uint256[2] calldata who, uint64[2] calldata later) external {
        _consortium.setMinimum(Word.wrap("pause-members"), 3);
        VM.assume(who[0] < 3 && who[1] < 3 && later[0] < 2 hours && later[1] < 2 hours);
        _pull(0);
        VM.warp(START + later[0]);
        _pull(who[0]);
        assert(!_brake.isPaused());
        VM.warp(START + later[0] + later[1]);
        _pull(who[1]);
        bool different = who[0] != 0 && who[1] != 0 && who[0] != who[1];
        assert(_brake.isPaused() == (different && later[0] + later[1] < VOICE));
    }

    function check_a_suspended_member_has_no_voice(uint256 second, uint256 suspended) external {
        VM.assume(second < 3 && suspended < 3);
        _pull(0);
        _membership.suspend(_membership.memberOf(_account(suspended)));
        _pull(second);
        assert(_brake.isPaused() == (second != 0 && suspended != 0 && second != suspended));
    }

    function check_it_ends_by_itself_within_a_week(uint256 wanted, uint64 later) external {
        VM.assume(later < 30 days);
        _consortium.setMinimum(Word.wrap("pause-seconds"), wanted);
        _pull(0);
        _pull(1);
        uint256 length = wanted == 0 ? 24 hours : wanted < 7 days ? wanted : 7 days;
        VM.warp(START + later);
        assert(_brake.isPaused() == (later < length));
    }

    function check_one_member_is_never_enough(uint256 wanted) external {
        _consortium.setMinimum(Word.wrap("pause-members"), wanted);
        assert(_brake.membersNeeded() == (wanted < 2 ? 2 : wanted));
    }

    // ------------------------------------------------------------------ inside

    function _pull(uint256 who) private {
        VM.prank(_account(who));
        try _brake.pull("reason") {} catch {}
    }

    /// @dev By branches, so that the prover has an address to call from on each.
    function _account(uint256 who) private view returns (address) {
        if (who == 0) return _accounts[0];
        if (who == 1) return _accounts[1];
        return _accounts[2];
    }

    function _proxy(address implementation, address argument) private returns (address) {
        // What `initialize(address)` takes, of every registry.
        return address(new ERC1967Proxy(implementation, abi.encodeCall(Brake.initialize, (argument))));
    }
}
