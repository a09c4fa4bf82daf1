"""The API: everything that can be asked and done without a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelkeep import config
from modelkeep._alias import Alias, AliasChange, expect_in
from modelkeep._api_lineage import LineageApi
from modelkeep._api_runs import RunsApi
from modelkeep._channel import connect
from modelkeep._collection import Collection, CollectionChange, Project, parse_collection
from modelkeep._draft import Draft, find_draft, list_drafts, open_draft
from modelkeep._key import ApiKey, NewKey, parse_role
from modelkeep._log import COMMIT_SECONDS, Words, log_artifact, parse_aliases, parse_tags
from modelkeep._resolve import resolve
from modelkeep._rule import AliasRule
from modelkeep._version import Version
from modelkeep._wire import pages, require_text
from modelkeep.address import Address
from modelkeep.api.metadata.v1 import alias_pb2, version_pb2
from modelkeep.api.metadata.v1 import metadata_service_pb2 as pb
from modelkeep.errors import InternalError, InvalidAddress
from modelkeep.names import ANY, ApiKeyName, CollectionName, ProjectName, TeamName, parse_alias, parse_identifier, parse_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import timedelta

    from modelkeep._artifact import Artifact


class Api(RunsApi, LineageApi):
    """A client of one server, for one team and project unless an address says otherwise. Any number of threads may use it.

    Every method may raise Unauthenticated, PermissionDenied, ServiceUnavailable and DeadlineExceeded.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        team: str | None = None,
        project: str | None = None,
        timeout_seconds: float | None = None,
    ) -> None:
        """What is not given comes from the environment, from `modelkeep login`, or from the server that runs here.

        `timeout_seconds` is the deadline of a call with all its tries (120 s); a transfer gets more, by its size.

        Raises NotConfigured, InvalidArgument.
        """
        self._connection = connect(
            config.load(url or "", api_key or "", team=team or "", project=project or "", timeout_seconds=timeout_seconds)
        )

    @property
    def team(self) -> str:
        """The team that is meant when an address names none."""
        return self._connection.team

    @property
    def default_project(self) -> str:
        """The project that is meant when an address names none."""
        return self._connection.config.project

    def artifact(self, address: str) -> Version:
        """The version at `[[team/]project/]name[:alias|:vN][@sha256:…|@moment]`; `latest` when nothing else is said.

        Raises InvalidAddress, CollectionNotFound, VersionNotFound, AliasNotFound, VersionDeleted.
        """
        return resolve(self._connection, self._address(address), address)

    def log_artifact(
        self,
        artifact: Artifact,
        *,
        aliases: Iterable[str] = (),
        tags: Iterable[str] = (),
        only_if_better: tuple[str, str] | None = None,
    ) -> Version:
        """Make a version of an artifact, of no run. All is as in `Run.log_artifact`."""
        words = Words.of(artifact, aliases, tags, only_if_better=only_if_better)
        return log_artifact(self._connection, self._connection.project, artifact, words)

    def versions(
        self,
        collection: str,
        *,
        filter: str = "",  # noqa: A002 - the word that users know
        order: str = "",
        show_deleted: bool = False,
    ) -> Iterator[Version]:
        """The versions of a collection, newest first; only those that `filter` is true of, sorted by `order`, if given.

        `docs/filter.md` describes both. `-` stands for all collections of the project, `project/-` and `-/-` for more of them:

            good = "metadata.acc > 0.9 AND NOT alias:best"
            for old in api.versions("vision/inceptionV3", filter=good, order="-metadata.acc"):
                print(old.name, old.metadata["acc"])

        Raises CollectionNotFound; InvalidFilter, whose message points at the character that it stumbled over.
        """
        require_text(filter=filter, order=order)
        request = pb.ListVersionsRequest(
            parent=str(self._collection(collection)), filter=filter, order_by=order, show_deleted=show_deleted
        )
        return map(self._version, pages(self._connection.metadata.ListVersions, request, lambda page: page.versions))

    def search(
        self,
        filter: str = "",  # noqa: A002 - the word that users know
        *,
        order: str = "",
        project: str | None = None,
        show_deleted: bool = False,
    ) -> Iterator[Version]:
        """The versions of all projects of the team, or of one, that `filter` is true of; newest first, or sorted by `order`.

            best = next(api.search('type = model AND name = "bert-*"', order="-metadata.acc"))

        Raises ProjectNotFound, InvalidFilter.
        """
        return self.versions(f"{project or ANY}/{ANY}", filter=filter, order=order, show_deleted=show_deleted)

    def collections(
        self,
        project: str | None = None,
        *,
        type: str | None = None,  # noqa: A002 - the word that users know
        filter: str = "",  # noqa: A002 - the word that users know
        order: str = "",
    ) -> Iterator[Collection]:
        """The collections of a project, by name; only of one type, and only those that `filter` is true of, if given.

        `-` stands for all projects of the team. Raises ProjectNotFound, InvalidFilter.
        """
        require_text(type=type, filter=filter, order=order)
        request = pb.ListCollectionsRequest(parent=str(self._project(project)), type=type or "", filter=filter, order_by=order)
        return map(Collection.from_pb, pages(self._connection.metadata.ListCollections, request, lambda page: page.collections))

    def collection(self, name: str) -> Collection:
        """One collection. Raises CollectionNotFound."""
        request = pb.GetCollectionRequest(name=str(self._collection(name)))
        return Collection.from_pb(self._connection.metadata.GetCollection(request))

    def rename(self, collection: str, new_name: str) -> Collection:
        """Give a collection another name; versions, aliases and history go with it. Raises CollectionExists."""
        new_name = parse_identifier(new_name, "collection name")
        request = pb.RenameCollectionRequest(name=str(self._collection(collection)), new_collection_id=new_name)
        return Collection.from_pb(self._connection.metadata.RenameCollection(request))

    def move(self, collection: str, destination: str) -> Collection:
        """Give a collection another name, in another project of its team too: `project/name`; the project is made if missing.

        Versions, aliases, history and drafts go with it. Raises CollectionExists; InvalidArgument (another team: copy instead).
        """
        name, new = self._collection(collection), self._collection(destination)
        request = pb.MoveCollectionRequest(name=str(name), new_parent=str(new.parent), new_collection_id=new.collection)
        return Collection.from_pb(self._connection.metadata.MoveCollection(request))

    def collection_history(self, collection: str) -> Iterator[CollectionChange]:
        """The names that a collection had, newest first."""
        request = pb.ListCollectionHistoryRequest(parent=str(self._collection(collection)))
        changes = pages(self._connection.metadata.ListCollectionHistory, request, lambda page: page.changes)
        return map(CollectionChange.from_pb, changes)

    def copy(self, source: str, collection: str, *, aliases: Iterable[str] = (), tags: Iterable[str] = ()) -> Version:
        """Make a version of `[[team/]project/]name` with the content of the version at `source`, also of a team you only read.

        No bytes move. Description and metadata go with it; `origin` says where it came from. Content that the collection has
        already answers with its version. Raises VersionNotFound, VersionDeleted, CollectionTypeMismatch, InvalidAlias.
        """
        request = pb.CopyVersionRequest(
            parent=str(self._collection(collection)),
            source=self.artifact(source).resource_name,
            aliases=parse_aliases(aliases),
            tags=parse_tags(tags),
        )
        answer = self._connection.metadata.CopyVersion(request, timeout=COMMIT_SECONDS)
        return Version.from_pb(answer.version, self._connection, deduplicated=answer.deduplicated)

    def draft(
        self,
        address: str,
        type: str = "",  # noqa: A002 - the word that users know
        *,
        collection: str | None = None,
        distributed_id: str = "",
    ) -> Draft:
        """Open a draft: `name:v3` or `name:alias` begins with the files of that version, `name` alone with none.

        The draft is for a version of that collection, or of `collection`; a new one needs a `type`. Several writers that name
        one `distributed_id` get one draft. Raises VersionNotFound, VersionDeleted, CollectionNotFound (say what type it is),
        CollectionTypeMismatch, DraftNotOpen (the draft of that id has ended, or another base).
        """
        parse_text(address, "address")
        base = self.artifact(address) if set(":@") & set(address.rpartition("/")[2]) else None
        place = collection or (address if base is None else f"{base.team}/{base.project}/{base.collection}")
        return open_draft(self._connection, self._collection(place), type, base=base, distributed_id=distributed_id)

    def open_draft(self, name: str) -> Draft:
        """A draft that was opened before: by its id, or by its resource name. Raises DraftNotFound."""
        return find_draft(self._connection, self._connection.project, name)

    def drafts(self, project: str | None = None, *, state: str | None = None) -> Iterator[Draft]:
        """The drafts of a project, newest first; only those that are `open`, `committed`, `aborted` or `expired`, if given."""
        return list_drafts(self._connection, self._project(project), state)

    def set_type(self, collection: str, type: str) -> Collection:  # noqa: A002 - the word that users know
        """Give a collection another type. Raises EtagMismatch when somebody edits it at the same time."""
        return self._edit_collection(collection, "type", parse_identifier(type, "type"))

    def describe(self, collection: str, description: str) -> Collection:
        """Give a collection another description. Raises EtagMismatch when somebody edits it at the same time."""
        return self._edit_collection(collection, "description", description)

    def projects(self) -> Iterator[Project]:
        """The projects of the team, by name."""
        request = pb.ListProjectsRequest(parent=str(TeamName(self.team)))
        return map(Project.from_pb, pages(self._connection.metadata.ListProjects, request, lambda page: page.projects))

    def project(self, name: str | None = None) -> Project:
        """One project. Raises ProjectNotFound."""
        request = pb.GetProjectRequest(name=str(self._project(name)))
        return Project.from_pb(self._connection.metadata.GetProject(request))

    def create_project(self, name: str, *, description: str = "") -> Project:
        """Make a project beforehand; logging makes a missing one too. Raises ProjectExists."""
        request = pb.CreateProjectRequest(parent=str(TeamName(self.team)), project_id=parse_identifier(name, "project name"))
        request.project.description = description
        return Project.from_pb(self._connection.metadata.CreateProject(request))

    def edit_project(self, name: str, *, description: str) -> Project:
        """Change the description of a project. Raises EtagMismatch when somebody edits it at the same time."""
        request = pb.UpdateProjectRequest()
        request.project.name, request.project.etag = str(self._project(name)), self.project(name).etag
        request.project.description = description
        request.update_mask.paths.append("description")
        return Project.from_pb(self._connection.metadata.UpdateProject(request))

    def promote(self, address: str, alias: str, *, expect: str | None = None, reason: str = "") -> Alias:
        """Point an alias to the version at `address`.

        `expect` is where the alias must point now: `v6`, or `none` when it must not exist. Raises AliasChanged otherwise.
        """
        version = self.artifact(address)
        collection = CollectionName(version.team, version.project, version.collection)
        return self._move(collection, alias, version.resource_name, expect, reason)

    def delete_alias(self, collection: str, alias: str, *, expect: str | None = None, reason: str = "") -> Alias:
        """Delete an alias; its history stays. `expect` as in `promote`. Raises AliasNotFound, AliasChanged."""
        return self._move(self._collection(collection), alias, "", expect, reason)

    def aliases(self, collection: str) -> Iterator[Alias]:
        """The aliases of a collection, by name; without `latest`, which is derived."""
        request = pb.ListAliasesRequest(parent=str(self._collection(collection)))
        return map(Alias.from_pb, pages(self._connection.metadata.ListAliases, request, lambda page: page.aliases))

    def history(self, collection: str, alias: str | None = None) -> Iterator[AliasChange]:
        """The changes of the aliases of a collection, newest first; only of one alias, if given."""
        require_text(alias=alias)
        request = pb.ListAliasHistoryRequest(parent=str(self._collection(collection)), alias=alias or "")
        return map(AliasChange.from_pb, pages(self._connection.metadata.ListAliasHistory, request, lambda page: page.changes))

    def set_alias_rule(self, collection: str, alias: str, expression: str) -> AliasRule:
        """Keep an alias on the best version, by `argmax(metadata.acc)` or `argmin(metadata.loss)`; it moves at once.

        From then on the server moves it, and nobody else does (AliasRuled). It replaces the rule that the alias had. Raises
        InvalidFilter (points at the character), CollectionNotFound, LimitExceeded, RuleFitsNothing (the alias exists, and no
        version has a number there).
        """
        name = self._collection(collection).alias(parse_alias(alias))
        request = pb.SetAliasRuleRequest(alias=str(name), expression=expression)
        return AliasRule.from_pb(self._connection.metadata.SetAliasRule(request))

    def delete_alias_rule(self, collection: str, alias: str) -> AliasRule:
        """Take the rule of an alias away; the alias stays where it is. Raises AliasNotFound when it has none."""
        name = self._collection(collection).alias(parse_alias(alias))
        return AliasRule.from_pb(self._connection.metadata.DeleteAliasRule(pb.DeleteAliasRuleRequest(alias=str(name))))

    def alias_rules(self, collection: str) -> Iterator[AliasRule]:
        """The rules of a collection, by alias."""
        request = pb.ListAliasRulesRequest(parent=str(self._collection(collection)))
        return map(AliasRule.from_pb, pages(self._connection.metadata.ListAliasRules, request, lambda page: page.rules))

    def restore(self, address: str) -> Version:
        """Bring a deleted version back under its number: `name:vN`. Raises VersionPurged, DigestLive, VersionNotFound."""
        parsed = self._address(address)
        if parsed.number is None:
            message = f"{address[:200]!r} could be any version; name the deleted one by its number: name:vN"
            raise InvalidAddress(message, address=address[:200])
        request = pb.RestoreVersionRequest(name=str(parsed.collection.version(parsed.number)))
        return self._version(self._connection.metadata.RestoreVersion(request))

    def keys(self) -> Iterator[ApiKey]:
        """The API keys of the team, revoked ones too, oldest first; for admins."""
        request = pb.ListApiKeysRequest(parent=str(TeamName(self.team)))
        return map(ApiKey.from_pb, pages(self._connection.metadata.ListApiKeys, request, lambda page: page.api_keys))

    def create_key(
        self,
        *,
        display_name: str = "",
        role: str = "write",
        readable_teams: Iterable[str] = (),
        expires: timedelta | None = None,
    ) -> NewKey:
        """Make an API key of the team; for admins. `expires` is how long it lives. Its secret is in the answer only."""
        for _ in range(3):
            request = pb.CreateApiKeyRequest(parent=str(TeamName(self.team)))
            request.api_key.display_name, request.api_key.role = display_name, parse_role(role)
            request.api_key.readable_teams.extend(str(TeamName(team)) for team in readable_teams)
            if expires is not None:
                request.api_key.expire_time.GetCurrentTime()
                request.api_key.expire_time.FromDatetime(request.api_key.expire_time.ToDatetime() + expires)
            made = self._connection.metadata.CreateApiKey(request)
            key = ApiKey.from_pb(made.api_key)
            if made.secret:
                return NewKey(key, made.secret)
            self.revoke_key(key.id)  # the answer with the secret was lost on its way: nobody will ever know it
        raise InternalError("three keys were made, and the answers with their secrets were lost; all three are revoked")

    def revoke_key(self, key: str) -> ApiKey:
        """End a key for good, by its id; tokens made from it end within 60 s. Raises ApiKeyNotFound."""
        request = pb.RevokeApiKeyRequest(name=str(ApiKeyName(self.team, key)))
        return ApiKey.from_pb(self._connection.metadata.RevokeApiKey(request))

    def _move(self, collection: CollectionName, alias: str, version: str, expect: str | None, reason: str) -> Alias:
        move = alias_pb2.AliasMove(alias=parse_alias(alias), version=version)
        expect_in(move, collection, expect)
        require_text(reason=reason)
        request = pb.MoveAliasesRequest(parent=str(collection), moves=[move], reason=reason)
        return Alias.from_pb(self._connection.metadata.MoveAliases(request).aliases[0])

    def _edit_collection(self, collection: str, field: str, value: str) -> Collection:
        request = pb.UpdateCollectionRequest()
        request.collection.name, request.collection.etag = str(self._collection(collection)), self.collection(collection).etag
        setattr(request.collection, field, value)
        request.update_mask.paths.append(field)
        return Collection.from_pb(self._connection.metadata.UpdateCollection(request))

    def _version(self, message: version_pb2.Version) -> Version:
        return Version.from_pb(message, self._connection)

    def _address(self, text: str) -> Address:
        return Address.parse(text, self.team, self.default_project)

    def _collection(self, text: str) -> CollectionName:
        return parse_collection(text, self._connection.project)

    def _project(self, name: str | None) -> ProjectName:
        return ProjectName(self.team, name or self.default_project)
