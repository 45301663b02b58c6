"""ContourService: a contour as a person's hand says, by the interactive networks of a model."""

from __future__ import annotations

import grpc

from oncoresponse.rpc.artifact_messages import artifact_message, stored_artifact
from oncoresponse.segmentation.lesion_prompt import Coordinates, LesionBox
from oncoresponse.servers.contour_refinement import ContourRefinement, SaidByHand
from oncoresponse.stages.v1 import contour_pb2, contour_pb2_grpc
from oncoresponse.v1 import lesion_pb2


class ContourServicer(contour_pb2_grpc.ContourServiceServicer):
    """See ``protos/oncoresponse/stages/v1/contour.proto``.

    Args:
        refinement: The networks with what they keep in memory.
    """

    def __init__(self, refinement: ContourRefinement) -> None:
        self._refinement = refinement

    async def Refine(
        self, request: contour_pb2.RefineRequest, context: grpc.aio.ServicerContext
    ) -> contour_pb2.RefineResponse:
        """Refine one contour."""
        hand = request.hand
        said = SaidByHand(
            inside=tuple(map(_place, hand.inside)),
            outside=tuple(map(_place, hand.outside)),
            box=LesionBox(_place(hand.box.low), _place(hand.box.high)) if hand.HasField("box") else None,
            outlines=tuple(
                (_place(each.on_slice), tuple(tuple(map(_place, polygon.points)) for polygon in each.polygons))
                for each in hand.outlines
            ),
        )
        found = await self._refinement.refine(
            request.model,
            request.model_sha256,
            stored_artifact(request.case),
            stored_artifact(request.earlier) if request.HasField("earlier") else None,
            said,
        )
        return contour_pb2.RefineResponse(
            mask=artifact_message(found.mask), volume_ml=found.volume_ml, volume_before_ml=found.volume_before_ml
        )


def _place(position: lesion_pb2.PatientPosition) -> Coordinates:
    return position.x_mm, position.y_mm, position.z_mm
