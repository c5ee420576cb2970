"""Stored versions as registered versions of MLflow: `penstock.<pipeline>`, with aliases, tags, losses and the sealed model.

Laws of this file:
- MLflow is told, never asked what is live: nothing here changes a fold, and nothing waits for it.
- A stored version is registered once: it is found again by its id and digest, which stand in its tags.
- What MLflow shows is what is stored, and every version that ever was committed. Of what else Penstock registered, the rest goes
  when the store drops it, unless somebody gave it an alias there. Aliases that Penstock did not set are left alone.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from penstock.stream.messages import rfc3339
from penstock.stream.models.published import (
    MOST_TAG_CHARACTERS,
    Key,
    key_of,
    metrics_of,
    order,
    tags_of,
    wanted_aliases,
)
from penstock.stream.models.store import ModelStore, file_name
from penstock.stream.models.version import CHAMPION, NAMED, PREVIOUS, Secret, Version, seal

logger = logging.getLogger("penstock.mlflow")

NAMES = "penstock.names"
"""The registered model's tag that lists the names which Penstock set as aliases."""
COMMITTED = "penstock.committed"
"""The tag of a version that is committed or was."""
LOADER = "penstock.stream.models.mlflow_loader"
PAGE = 1_000


class NoMlflow(RuntimeError):
    """The extra is not installed; the message says how to get it."""


def client_of(uri: str) -> Any:
    """MLflow's client for a tracking server. Raises `NoMlflow`."""
    # A server that is away must not hold a thread for minutes, and a role reports to nobody but its own server.
    for name, value in (
        ("MLFLOW_DISABLE_TELEMETRY", "true"),
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2"),
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "30"),
        ("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true"),
    ):
        os.environ.setdefault(name, value)
    try:
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise NoMlflow(
            f"MLflow's client is not here ({error}): pip install 'penstock[mlflow]', or unset PENSTOCK_MLFLOW"
        ) from None
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


class Done(NamedTuple):
    """What one `sync` changed: versions registered, and registered versions deleted that nobody keeps."""

    registered: list[str]
    deleted: list[str]


class MlflowRegistry:
    """One pipeline's registered model.

    Args:
        client: `client_of` the server.
        pipeline: the pipeline's deployed name.
        store: its versions.
        secret: what the artifacts are sealed with.
        inputs: the names of a vector's values, for whoever opens the model elsewhere.

    """

    def __init__(
        self, client: Any, pipeline: str, store: ModelStore, secret: Secret, inputs: Sequence[str | None] = ()
    ) -> None:
        self.client, self.store, self.secret, self.inputs = client, store, secret, list(inputs)
        self.name = f"penstock.{pipeline}"
        self.known: dict[str, Version] = {}

    def sync(self, live: Mapping[str, Any], stored_again: Sequence[str] = ()) -> Done:
        """Make MLflow say what is stored and what is live, as the public document `live` says.

        `stored_again` names versions whose model may have changed under the same id. Raises what MLflow's client raises, whose
        work is then done in part: another call goes on from there.
        """
        aliases = self._registered_model()
        there = {Key(*found): each for each, *found in self._registered() if found[0]}
        stored = self._stored(stored_again)
        done = Done([], [])
        for version in sorted(stored.values(), key=order):
            key = key_of(version)
            if key not in there:
                made = self._register(version)
                if made is not None:
                    there[key] = made
                    done.registered.append(version.id)
        wanted = wanted_aliases(stored, live)
        self._set_aliases(aliases, wanted, there)
        self._tag_states(there, stored, live)
        named = set(wanted.values())
        foreign = {number for alias, number in aliases.items() if alias not in (CHAMPION, PREVIOUS)}
        kept = {key_of(version) for version in stored.values()} | named
        for key, each in there.items():
            if key not in kept and COMMITTED not in each.tags and each.version not in foreign:
                if each.tags.get("penstock.kind") != "committed":
                    self._delete(each)
                    done.deleted.append(key.version)
        return done

    def _registered_model(self) -> dict[str, str]:
        """Make the registered model if need be; its aliases, each with the number of its version."""
        from mlflow.exceptions import MlflowException

        try:
            return dict(self.client.get_registered_model(self.name).aliases)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
        about = "Versions that Penstock stored. It moves the aliases champion (committed) and previous (committed before)."
        self.client.create_registered_model(self.name, description=about)
        return {}

    def _registered(self) -> Iterator[tuple[Any, str, str]]:
        """Every registered version, with the id and the digest in its tags; newest first, so that the oldest of twins counts."""
        token = None
        while True:
            page = self.client.search_model_versions(
                f"name='{self.name}'", max_results=PAGE, order_by=["version_number DESC"], page_token=token
            )
            for each in page:
                yield each, each.tags.get("penstock.version", ""), each.tags.get("penstock.digest", "")
            token = page.token
            if not token:
                return

    def _stored(self, stored_again: Sequence[str]) -> dict[str, Version]:
        """What is stored, by id; only what is new is opened, and names, which people move."""
        ids = self.store.ids()
        self.known = {
            version_id: version
            for version_id, version in self.known.items()
            if version_id in ids and version_id not in stored_again and not version_id.startswith(NAMED)
        }
        for version_id in ids - self.known.keys():
            found = self.store.get(version_id)
            if found is not None:
                self.known[version_id] = found[0]
        return dict(self.known)

    # -- one version ------------------------------------------------------------------------------------------------------

    def _register(self, version: Version) -> Any:
        """A run with losses and the sealed model, and the registered version that points to it; None where it is gone by now."""
        found = self.store.get(version.id)
        if found is None or found[0].digest != version.digest:  # stored again since: the next call takes that
            self.known.pop(version.id, None)
            return None
        from mlflow.entities import Metric

        tags = tags_of(version)
        run = self.client.create_run(
            self._experiment(), start_time=version.at, tags=tags, run_name=tags["penstock.version"]
        )
        numbers = metrics_of(version)
        self.client.log_batch(
            run.info.run_id,
            metrics=[Metric(name, value, version.at, version.position) for name, value in numbers.items()],
        )
        with tempfile.TemporaryDirectory(prefix="penstock-mlflow-") as folder:
            write_artifact(Path(folder), *found, self.secret, self.inputs)
            self.client.log_artifacts(run.info.run_id, folder, "model")
        self.client.set_terminated(run.info.run_id, end_time=version.at)
        return self.client.create_model_version(
            self.name,
            source=f"{run.info.artifact_uri}/model",
            run_id=run.info.run_id,
            tags={**tags, **{f"penstock.{name}": f"{value:g}" for name, value in numbers.items()}},
            description=version.why,
            await_creation_for=0,
        )

    def _experiment(self) -> str:
        found = self.client.get_experiment_by_name(self.name)
        return str(self.client.create_experiment(self.name) if found is None else found.experiment_id)

    def _delete(self, each: Any) -> None:
        self.client.delete_model_version(self.name, each.version)
        if each.run_id:
            self.client.delete_run(each.run_id)

    # -- what changes -----------------------------------------------------------------------------------------------------

    def _set_aliases(
        self, aliases: Mapping[str, str], wanted: Mapping[str, Key], there: Mapping[Key, Any]
    ) -> None:
        """Move the aliases that are Penstock's, and take away those that mean nothing any more."""
        given = self.client.get_registered_model(self.name).tags.get(NAMES, "[]")
        ours = {CHAMPION, PREVIOUS, *json.loads(given)}
        for alias, key in wanted.items():
            if key in there and aliases.get(alias) != str(there[key].version):
                self.client.set_registered_model_alias(self.name, alias, there[key].version)
        for alias in ours & aliases.keys():
            if wanted.get(alias) not in there:
                self.client.delete_registered_model_alias(self.name, alias)
        names = json.dumps(sorted(wanted.keys() - {CHAMPION, PREVIOUS}))
        if names != given:
            self.client.set_registered_model_tag(self.name, NAMES, names)

    def _tag_states(
        self, there: Mapping[Key, Any], stored: Mapping[str, Version], live: Mapping[str, Any]
    ) -> None:
        """Say of every version what it is now, and of the committed one who committed it, when and why."""
        commit = live.get("commit") or {}
        held = {key_of(version) for version in stored.values()}
        for key, each in there.items():
            state = live.get("states", {}).get(key.version, "kept") if key in held else "no longer stored"
            tags = {"penstock.state": state}
            if key in held and key.version in (live.get("committed"), live.get("previous")):
                tags[COMMITTED] = "true"
            if key in held and key.version == commit.get("version"):
                tags |= {
                    "penstock.committed_at": rfc3339(commit["at"]),
                    "penstock.committed_by": commit["by"],
                    "penstock.committed_why": commit["why"][:MOST_TAG_CHARACTERS],
                }
            for name, value in tags.items():
                if each.tags.get(name) != value:
                    self.client.set_model_version_tag(self.name, each.version, name, value)
                    each.tags[name] = value


def write_artifact(
    folder: Path, version: Version, payload: bytes, secret: Secret, inputs: Sequence[str | None]
) -> None:
    """The sealed version as `penstock models export` writes it, a card, and what lets `mlflow.pyfunc` open it."""
    file = file_name(key_of(version).version).removesuffix(".model") + ".penstock"
    (folder / file).write_bytes(seal(version, payload, secret))
    card = {"inputs": inputs, **msgspec.to_builtins(version)}
    (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    flavor = {"loader_module": LOADER, "data": file, "python_version": version.python}
    # MLflow reads YAML here, and JSON is YAML.
    (folder / "MLmodel").write_text(json.dumps({"flavors": {"python_function": flavor}}, indent=2) + "\n")
