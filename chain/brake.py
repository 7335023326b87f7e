"""The emergency brake: some members together stop new work for a while."""

from chain.calls import Block, Call
from chain.contract import Contract


class Brake(Contract):
    artifact = "Brake"

    def is_paused(self, *, block: Block | None = None) -> bool:
        return bool(self._read("isPaused", block=block))

    def paused_until(self, *, block: Block | None = None) -> int:
        """Block time (Unix seconds) until which work is or was stopped, exclusive; 0: never."""
        return int(self._read("pausedUntil", block=block))

    def require_released(self, *, block: Block | None = None) -> None:
        """Refused with BrakePulled."""
        self._read("requireReleased", block=block)

    def voices(self, *, block: Block | None = None) -> tuple[str, ...]:
        """Members whose voices stand now, an hour long each."""
        return tuple(self._read("voices", block=block))

    def rests_until(self, member: str, *, block: Block | None = None) -> int:
        """Block time until which the member raises no voice, having pulled the brake; 0: never."""
        return int(self._read("restsUntil", member, block=block))

    def members_needed(self, *, block: Block | None = None) -> int:
        return int(self._read("membersNeeded", block=block))

    def pause_seconds(self, *, block: Block | None = None) -> int:
        """How long a pause lasts."""
        return int(self._read("pauseSeconds", block=block))

    def pull(self, reason: str) -> Call:
        """By the account of an active member; `reason` is the SHA-256 of a text."""
        return self._write("pull", reason)

    def release(self) -> Call:
        """By the authority, before its time."""
        return self._write("release")
