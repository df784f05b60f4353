"""Three real Alluxio masters with an embedded journal: one leads, two stand by."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Self

from tests.real.alluxio import Alluxio
from tests.real.process import StartFailed, free_ports

COUNT = 3
_LEADER_SECONDS = 150.0  # 10 on an idle machine


class Member(Alluxio):
    """One of several masters, at ports that the others know."""

    def __init__(self, storage: str, properties: Mapping[str, str], rpc_port: int, web_port: int) -> None:
        super().__init__(storage, properties=properties, heap="512m")
        self._fixed = (rpc_port, web_port, 0, 0)

    def serving(self) -> bool:
        """Return true: whether it leads is for the others to say, too."""
        return True

    def leads(self) -> bool:
        """Return whether it leads and serves; the others have closed their web port."""
        return super().serving()

    def _ports(self) -> Sequence[int]:
        return self._fixed


class Masters:
    """Context manager: a cluster with a leader. ``members`` are its masters."""

    def __init__(self, storage: str, properties: Mapping[str, str]) -> None:
        """See Alluxio."""
        ports = free_ports(3 * COUNT)
        rpc, web, journal = ports[::3], ports[1::3], ports[2::3]
        common = dict(properties) | {
            "alluxio.master.journal.type": "EMBEDDED",
            "alluxio.master.embedded.journal.addresses": _addresses(journal),
            "alluxio.master.rpc.addresses": _addresses(rpc),
            "alluxio.master.embedded.journal.election.timeout.min": "3s",  # 10 by default
            "alluxio.master.embedded.journal.election.timeout.max": "5s",  # 20
        }
        own = [common | {"alluxio.master.embedded.journal.port": str(port)} for port in journal]
        self.members = [Member(storage, own[n], rpc[n], web[n]) for n in range(COUNT)]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for member in self.members:
                stack.enter_context(member)
            self.leader()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def addresses(self) -> list[str]:
        """Return host:port of every master."""
        return [member.rpc_address for member in self.members]

    def leader(self) -> Member:
        """Return the master that leads, as soon as there is one."""
        deadline = time.monotonic() + _LEADER_SECONDS
        while time.monotonic() < deadline:
            for member in self.members:
                if member.leads():
                    return member
            time.sleep(0.1)
        raise StartFailed("\n".join(f"no leader\n{member.log_tail()}" for member in self.members))


def _addresses(ports: Sequence[int]) -> str:
    return ",".join(f"127.0.0.1:{port}" for port in ports)
