// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {ERC721VotesUpgradeable} from
    "@openzeppelin/contracts-upgradeable/token/ERC721/extensions/ERC721VotesUpgradeable.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

import {Governed} from "./Governed.sol";
import {ANCHORS, BREAKGLASS, GOVERNOR, SITES} from "./Names.sol";
import {IAuditAnchor} from "./interfaces/IAuditAnchor.sol";
import {IConsortiumGovernor} from "./interfaces/IConsortiumGovernor.sol";
import {IERC5192} from "./interfaces/IERC5192.sol";
import {IMembership} from "./interfaces/IMembership.sol";
import {ISiteRegistry} from "./interfaces/ISiteRegistry.sol";
import {MemberId} from "./interfaces/Types.sol";
import {Ids} from "./libraries/Ids.sol";
import {Pages} from "./libraries/Pages.sol";

/// @title One soulbound vote per institution, and its standing through time.
/// @notice The vote is not transferred, not approved to others and not delegated: it exists while its member is active.
/// An account stays with its member for ever, an expelled one and a replaced one too: past signatures keep their
/// meaning, and a return takes another account.
contract Membership is IMembership, IERC5192, Governed, ERC721VotesUpgradeable {
    using Checkpoints for Checkpoints.Trace160;
    using Pages for bytes32[];

    /// @custom:storage-location erc7201:fatechain.storage.Membership
    struct MembershipStorage {
        mapping(MemberId id => Member) members;
        mapping(MemberId id => Checkpoints.Trace160) standings; // block -> Standing
        mapping(address account => MemberId) byAccount;
        bytes32[] list;
        mapping(MemberId id => uint64) leavesFrom; // block time; 0: not announced
    }

    // keccak256(abi.encode(uint256(keccak256("fatechain.storage.Membership")) - 1)) & ~bytes32(uint256(0xff))
    bytes32 private constant MEMBERSHIP_SLOT = 0xc66cb236599bdde60e919477fadc52751ceae7eb92f6f3af6fff5004e752b200;

    uint64 private constant LEAVING_TIME = 7 days; // in which a vote may recover a stolen account

    bytes32 private constant ADMISSION_TYPE = keccak256("Admission(address account,string name,uint256 nonce)");
    bytes32 private constant RECOVERY_TYPE = keccak256("Recovery(bytes32 member,address account)");

    function initialize(address consortium_) external initializer {
        __Governed_init(consortium_);
        __ERC721_init("FATE-Chain Member", "FCM");
        __EIP712_init("FATE-Chain Member", "1");
    }

    // ------------------------------------------------------------------ moves, by the authority

    function admit(address account, string calldata name, uint256 nonce, bytes calldata acceptance)
        external
        onlyAuthority
        returns (MemberId id)
    {
        MembershipStorage storage $ = _state();
        id = memberIdFor(account, nonce);
        if ($.members[id].admittedAt != 0) revert MembershipIdTaken(id);
        _claim(account, id, admissionDigest(account, name, nonce), acceptance);

        $.members[id] = Member(account, name, uint64(block.number), 0, 0);
        $.list.push(MemberId.unwrap(id));
        _setStanding(id, Standing.Active);
        _giveVote(id, account);
        emit MemberAdmitted(id, account, name);
    }

    function suspend(MemberId id) external onlyAuthority {
        _suspend(id);
    }

    function reinstate(MemberId id) external onlyAuthority {
        Standing found = _knownStanding(id);
        if (found != Standing.Suspended) revert MembershipNotSuspended(id, found);
        Member storage known = _state().members[id];
        known.suspendedAt = 0;
        _setStanding(id, Standing.Active);
        _giveVote(id, known.account);
        emit MemberReinstated(id);
    }

    function expel(MemberId id) external onlyAuthority {
        _expel(id);
    }

    function recover(MemberId id, address account, bytes calldata acceptance) external onlyAuthority {
        Standing found = _knownStanding(id);
        if (found == Standing.Expelled) revert MembershipNotActive(id, found);
        _claim(account, id, recoveryDigest(id, account), acceptance);

        Member storage known = _state().members[id];
        address from = known.account;
        known.account = account;
        delete _state().leavesFrom[id];
        if (found == Standing.Active) {
            _delegate(account, account);
            _transfer(from, account, _token(id));
        }
        emit MemberRecovered(id, from, account);
        ISiteRegistry(_contractOf(SITES)).forgetReplaced(from);
    }

    // ------------------------------------------------------------------ moves, by others

    function leave() external {
        MemberId id = _ownMember(msg.sender);
        uint64 from = _state().leavesFrom[id];
        if (from == 0) {
            _announceLeaving(id);
            return;
        }
        if (block.timestamp < from) revert MembershipLeavingLater(id, from);
        emit MemberLeft(id);
        _expel(id);
    }

    function suspendUnreviewed(MemberId id) external {
        if (msg.sender != _contractOf(BREAKGLASS)) revert MembershipNotBreakGlass(msg.sender);
        _suspend(id);
    }

    // ------------------------------------------------------------------ reading

    function memberIdFor(address account, uint256 nonce) public view returns (MemberId) {
        return MemberId.wrap(Ids.derive(account, nonce));
    }

    function member(MemberId id) external view returns (Member memory) {
        _knownStanding(id);
        return _state().members[id];
    }

    function memberOf(address account) public view returns (MemberId id) {
        id = _state().byAccount[account];
        if (!_isSet(id)) revert MembershipNotAMember(account);
    }

    function standing(MemberId id) public view returns (Standing) {
        return standingAt(id, uint64(block.number));
    }

    function standingAt(MemberId id, uint64 blockNumber) public view returns (Standing) {
        return Standing(uint8(_state().standings[id].upperLookupRecent(blockNumber)));
    }

    function requireActive(MemberId id) public view {
        Standing found = _knownStanding(id);
        if (found != Standing.Active) revert MembershipNotActive(id, found);
    }

    function requireActiveAccount(address account) external view returns (MemberId id) {
        id = _ownMember(account);
        requireActive(id);
    }

    function isActiveAccount(address account) external view returns (bool) {
        MemberId id = _state().byAccount[account];
        return _isSet(id) && _state().members[id].account == account && standing(id) == Standing.Active;
    }

    function leavesFrom(MemberId id) external view returns (uint64) {
        return _state().leavesFrom[id];
    }

    function activeCount() public view returns (uint256) {
        return _getTotalSupply();
    }

    function admissionDigest(address account, string calldata name, uint256 nonce) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(ADMISSION_TYPE, account, keccak256(bytes(name)), nonce)));
    }

    function recoveryDigest(MemberId id, address account) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(RECOVERY_TYPE, id, account)));
    }

    function memberCount() external view returns (uint256) {
        return _state().list.length;
    }

    function members(uint256 offset, uint256 limit) external view returns (MemberId[] memory page) {
        bytes32[] memory raw = _state().list.slice(offset, limit);
        assembly ("memory-safe") {
            page := raw
        }
    }

    // ------------------------------------------------------------------ the token: soulbound

    /// @inheritdoc IERC5192
    function locked(uint256 tokenId) external view returns (bool) {
        _requireOwned(tokenId);
        return true;
    }

    function approve(address, uint256) public pure override {
        revert MembershipSoulbound();
    }

    function setApprovalForAll(address, bool) public pure override {
        revert MembershipSoulbound();
    }

    function transferFrom(address, address, uint256) public pure override {
        revert MembershipSoulbound();
    }

    /// @dev One member, one vote: nobody collects the votes of others.
    function delegate(address) public pure override {
        revert MembershipSoulbound();
    }

    function delegateBySig(address, uint256, uint256, uint8, bytes32, bytes32) public pure override {
        revert MembershipSoulbound();
    }

    function supportsInterface(bytes4 interfaceId) public view override returns (bool) {
        return interfaceId == type(IERC5192).interfaceId || super.supportsInterface(interfaceId);
    }

    // ------------------------------------------------------------------ inside

    /// @dev An account agrees to its member once and belongs to it for ever.
    function _claim(address account, MemberId id, bytes32 message, bytes calldata acceptance) private {
        MembershipStorage storage $ = _state();
        if (_isSet($.byAccount[account])) revert MembershipAccountTaken(account, $.byAccount[account]);
        if (!SignatureChecker.isValidSignatureNow(account, message, acceptance)) revert MembershipNotAccepted(account);
        $.byAccount[account] = id;
    }

    function _announceLeaving(MemberId id) private {
        Standing found = standing(id);
        if (found == Standing.Expelled) revert MembershipNotActive(id, found);
        uint64 from = uint64(block.timestamp) + LEAVING_TIME;
        _state().leavesFrom[id] = from;
        emit MemberLeaving(id, from);
    }

    function _giveVote(MemberId id, address account) private {
        _mint(account, _token(id));
        _delegate(account, account);
        emit Locked(_token(id));
    }

    function _suspend(MemberId id) private {
        requireActive(id);
        _takeVote(id);
        _state().members[id].suspendedAt = uint64(block.number);
        _setStanding(id, Standing.Suspended);
        emit MemberSuspended(id);
        _forgetCosigners(id);
    }

    function _expel(MemberId id) private {
        Standing found = _knownStanding(id);
        if (found == Standing.Expelled) revert MembershipNotActive(id, found);
        if (found == Standing.Active) _takeVote(id);
        _state().members[id].expelledAt = uint64(block.number);
        _setStanding(id, Standing.Expelled);
        emit MemberExpelled(id);
        _forgetCosigners(id);
    }

    /// @dev Below the quorum no vote could be won, not even one that admits a member.
    function _takeVote(MemberId id) private {
        _burn(_token(id));
        address governor = _consortium().findContract(GOVERNOR);
        if (governor == address(0)) return;
        uint256 minimum = IConsortiumGovernor(governor).quorumMinimum();
        if (activeCount() < minimum) revert MembershipTooFew(activeCount(), minimum);
    }

    /// @dev A member that stands no more is not counted as a witness. Without AuditAnchor nothing remembers it.
    function _forgetCosigners(MemberId id) private {
        address anchors = _consortium().findContract(ANCHORS);
        if (anchors != address(0)) IAuditAnchor(anchors).forgetCosigners(id);
    }

    function _ownMember(address account) private view returns (MemberId id) {
        id = memberOf(account);
        address current = _state().members[id].account;
        if (account != current) revert MembershipAccountReplaced(account, current);
    }

    function _knownStanding(MemberId id) private view returns (Standing found) {
        found = standing(id);
        if (found == Standing.None) revert MembershipUnknown(id);
    }

    function _setStanding(MemberId id, Standing to) private {
        // What stood before is not asked.
        // slither-disable-next-line unused-return
        _state().standings[id].push(uint96(block.number), uint160(uint8(to)));
    }

    function _token(MemberId id) private pure returns (uint256) {
        return uint256(MemberId.unwrap(id));
    }

    function _isSet(MemberId id) private pure returns (bool) {
        return MemberId.unwrap(id) != 0;
    }

    function _state() private pure returns (MembershipStorage storage $) {
        assembly {
            $.slot := MEMBERSHIP_SLOT
        }
    }
}
