"""AccessService: who a caller is to this installation."""

from __future__ import annotations

import grpc

from oncoresponse.access.call import current_call
from oncoresponse.v1 import access_pb2, access_pb2_grpc


class AccessServicer(access_pb2_grpc.AccessServiceServicer):
    """See ``protos/oncoresponse/v1/access.proto``."""

    async def GetCaller(
        self, request: access_pb2.GetCallerRequest, context: grpc.aio.ServicerContext
    ) -> access_pb2.GetCallerResponse:
        """Name the caller."""
        caller = current_call().caller
        named = access_pb2.Caller(name=caller.name, roles=sorted(caller.roles), tenant=caller.tenant)
        return access_pb2.GetCallerResponse(caller=named)
