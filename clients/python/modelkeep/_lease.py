"""The lease of an upload: it protects what was sent, and what need not be sent, until the version is committed (SEM-25)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from modelkeep.api.blob.v1 import blob_service_pb2 as pb
from modelkeep.errors import LeaseExpired, LeaseNotFound, ModelkeepError, ServiceUnavailable

if TYPE_CHECKING:
    from modelkeep._channel import Connection


class KeptLease:
    """A lease that is opened when it is first needed, and renewed until `end`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._name = ""
        self._opening = threading.Lock()
        self._stop = threading.Event()

    def end(self) -> None:
        """Renew it no more."""
        self._stop.set()

    def prepare(self, request: pb.PrepareUploadRequest) -> pb.PrepareUploadResponse:
        """Ask under this lease. The answer names the lease under which it holds: another one may have begun by then."""
        for _ in range(3):
            request.lease = self._name
            try:
                response: pb.PrepareUploadResponse = (
                    self._connection.blob.PrepareUpload(request) if request.lease else self._first(request)
                )
            except (LeaseExpired, LeaseNotFound):
                self.drop(request.lease)  # this machine slept, or the network was away: begin another one
            else:
                return response
        raise ServiceUnavailable("leases end as soon as they begin; check the server's clock and its lease time")

    def drop(self, name: str) -> None:
        """It is lost: begin another one."""
        with self._opening:
            if self._name == name:
                self._name = ""

    def _first(self, request: pb.PrepareUploadRequest) -> pb.PrepareUploadResponse:
        with self._opening:  # one of the batches opens the lease, the others wait for it
            request.lease = self._name
            response: pb.PrepareUploadResponse = self._connection.blob.PrepareUpload(request)
            if not self._name:
                self._name = response.lease.name
                seconds = self._connection.limits().lease_seconds / 3
                keeper = threading.Thread(target=self._keep, args=(self._name, seconds), daemon=True)
                keeper.name = "modelkeep-lease"
                keeper.start()
            return response

    def _keep(self, name: str, seconds: float) -> None:
        while not self._stop.wait(seconds):
            try:
                self._connection.blob.RenewLease(pb.RenewLeaseRequest(name=name), timeout=max(seconds, 10))
            except (LeaseExpired, LeaseNotFound):
                self.drop(name)
                return
            except ModelkeepError:
                continue  # there are two more tries before the lease ends, and the upload itself will say what is wrong
