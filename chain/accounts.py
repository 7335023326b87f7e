"""Accounts that are contracts: what they accept as their signature (ERC-1271)."""

from chain.client import ChainClient
from chain.errors import ChainRefused

MAGIC = bytes.fromhex("1626ba7e")  # isValidSignature(bytes32,bytes), and the answer that means yes
GAS = 3_000_000  # what a contract may spend on its answer


def accepts_signature(client: ChainClient, account: str, digest: bytes, signature: bytes) -> bool:
    """Whether the contract at `account` says now that it signed the digest; no contract says no.

    A contract that reverts, runs out of gas or answers anything else says no. Raises
    ChainUnavailable.
    """
    from eth_abi.abi import encode
    from web3.exceptions import ContractLogicError, Web3RPCError

    if not client.has_code(account):
        return False
    question = MAGIC + encode(["bytes32", "bytes"], [digest, signature])
    try:
        answer = client.ask_account(account, question, GAS)
    except (ContractLogicError, Web3RPCError, ChainRefused):
        return False
    return answer[:32] == MAGIC + bytes(28)
