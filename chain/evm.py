"""A process that plays calls on a copy of the chain, and nothing else; `chain.fork` starts it.

The EVM (pyrevm) reads what it lacks over HTTP and holds Python's lock while it waits: in a process
of its own it cannot stop a node, and it can be killed. It runs as a file, isolated, and imports
none of our modules. One JSON object a line, in and out:

    first line          {"url", "block", "number", "timestamp", "chainId"}; answered with {}
    {"store": [address, slot, value]}   → {}
    {"slot": [address, slot]}           → {"value": integer as text}
    {"call": [sender, to, data, gas]}   → {"output": data, "logs": [[address, topics, data]]}
                                          or {"reverted": data}
    whatever fails otherwise            → {"failed": text}

A call that does not revert stays in the copy. Bytes are 0x-hex.
"""

import json
import re
import sys
from typing import Any

_REVERT = re.compile(r"Revert \{ gas_used: \d+, output: (0x[0-9a-f]*) \}")
_HALT = re.compile(r"Halt \{.*\}", re.DOTALL)


def main() -> int:
    """Until the end of the input."""
    import pyrevm

    first = json.loads(sys.stdin.readline())
    evm = pyrevm.EVM(
        env=pyrevm.Env(
            cfg=pyrevm.CfgEnv(chain_id=first["chainId"]),
            block=pyrevm.BlockEnv(number=first["number"], timestamp=first["timestamp"]),
        ),
        fork_url=first["url"],
        fork_block=str(first["block"]),
        spec_id="SHANGHAI",
    )
    _say({})
    for line in sys.stdin:
        _say(_answer(evm, json.loads(line)))
    return 0


def _answer(evm: Any, asked: dict[str, list[Any]]) -> dict[str, Any]:
    try:
        if "store" in asked:
            address, slot, value = asked["store"]
            evm.insert_account_storage(address, int(slot), int(value))
            return {}
        if "slot" in asked:
            address, slot = asked["slot"]
            return {"value": str(evm.storage(address, int(slot)))}
        return _call(evm, *asked["call"])
    except (RuntimeError, ValueError, OverflowError) as error:
        return {"failed": str(error)[:2000]}


def _call(evm: Any, sender: str, to: str, data: str, gas: int) -> dict[str, Any]:
    try:
        output = evm.message_call(
            caller=sender, to=to, calldata=bytes.fromhex(data.removeprefix("0x")), gas=gas
        )
    except RuntimeError as error:
        reverted = _REVERT.fullmatch(str(error))
        if reverted is not None:
            return {"reverted": reverted[1]}
        if _HALT.fullmatch(str(error)) is not None:
            return {"reverted": "0x"}  # out of gas, an invalid opcode: no reason to be had
        raise
    logs = [[log.address, list(log.topics), "0x" + log.data[1].hex()] for log in evm.result.logs]
    return {"output": "0x" + output.hex(), "logs": logs}


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    sys.exit(main())
