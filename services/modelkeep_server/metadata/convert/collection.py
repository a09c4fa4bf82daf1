"""Collections on the wire."""

from __future__ import annotations

from modelkeep.api.metadata.v1 import collection_pb2 as pb
from modelkeep.api.metadata.v1 import metadata_service_pb2 as service_pb
from modelkeep.names import MAX_MARKDOWN_BYTES, CollectionName, ProjectName, parse_identifier, parse_words

from modelkeep_server.metadata.domain.collection import Collection, CollectionChange
from modelkeep_server.runtime.messages import fields_from_pb
from modelkeep_server.runtime.moments import to_timestamp


def collection_to_pb(collection: Collection) -> pb.Collection:
    """A collection."""
    return pb.Collection(
        name=str(collection.name),
        type=collection.type,
        description=collection.description,
        latest_version=str(collection.latest_version or ""),
        version_count=collection.version_count,
        create_time=to_timestamp(collection.create_time),
        update_time=to_timestamp(collection.update_time),
        etag=collection.etag,
        uid=collection.uid,
    )


def name_change_to_pb(change: CollectionChange) -> pb.CollectionChange:
    """A change of the name of a collection."""
    return pb.CollectionChange(
        from_collection=change.from_collection,
        to_collection=change.to_collection,
        change_time=to_timestamp(change.change_time),
        actor=change.actor,
    )


def collection_from_pb(request: service_pb.CreateCollectionRequest) -> tuple[CollectionName, str, str]:
    """The name, the type and the description of a collection to make. Raises InvalidName, InvalidArgument, LimitExceeded."""
    project = ProjectName.parse(request.parent)
    name = CollectionName(project.team, project.project, request.collection_id)
    description = parse_words(request.collection.description, "description", MAX_MARKDOWN_BYTES)
    return name, parse_identifier(request.collection.type, "type"), description


def collection_edit_from_pb(request: service_pb.UpdateCollectionRequest) -> tuple[CollectionName, str | None, str | None, str]:
    """The name, new type and description, and expected etag of a collection; None where the mask leaves a value as it is.

    Raises InvalidName, InvalidArgument, LimitExceeded.
    """
    fields = fields_from_pb(request.update_mask, ("description", "type"))
    collection = request.collection
    type_ = parse_identifier(collection.type, "type") if "type" in fields else None
    description = parse_words(collection.description, "description", MAX_MARKDOWN_BYTES) if "description" in fields else None
    return CollectionName.parse(collection.name), type_, description, collection.etag
