"""Logs of our contracts as records with names and values."""

from collections.abc import Mapping
from typing import Any

from chain.abi import decode_event
from chain.calls import EventRecord, RawLog

__all__ = ["EventRecord", "decode", "raw_log"]


def decode(log: Mapping[str, Any], contracts: Mapping[str, str]) -> EventRecord:
    """`log` as web3 returns it; `contracts` maps checksummed addresses to artifact names.

    Raises KeyError for a log of an address that is not among them.
    """
    contract = contracts[log["address"]]
    topics = [topic.to_0x_hex() for topic in log["topics"]]
    name, args = decode_event(contract, topics, log["data"].to_0x_hex())
    return EventRecord(
        block_number=log["blockNumber"],
        block_hash=log["blockHash"].to_0x_hex(),
        tx_hash=log["transactionHash"].to_0x_hex(),
        log_index=log["logIndex"],
        contract=contract,
        name=name,
        args=args,
    )


def raw_log(log: Mapping[str, Any]) -> RawLog:
    """The same without names."""
    return RawLog(
        address=str(log["address"]).lower(),
        topics=tuple(topic.to_0x_hex() for topic in log["topics"]),
        data=log["data"].to_0x_hex(),
    )
