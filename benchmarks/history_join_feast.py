"""Feast's `get_historical_features` over the tables of `history_join`: run by the Python that has Feast."""

import json
import resource
import sys
import time
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, String

if __name__ == "__main__":
    folder, kind, most_gb = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    # It may put all rows of an entity beside all of its events before it looks at their times.
    resource.setrlimit(resource.RLIMIT_AS, (most_gb << 30, most_gb << 30))
    asked = json.loads((folder / "feast.json").read_text())
    repo = folder / "feast"
    repo.mkdir(exist_ok=True)
    (repo / "feature_store.yaml").write_text(
        "project: history\nregistry: registry.db\nprovider: local\nentity_key_serialization_version: 3\n"
        f"online_store:\n  type: sqlite\n  path: online.db\noffline_store:\n  type: {kind}\n"
    )
    store = FeatureStore(repo_path=str(repo))
    entities, views, wanted = {}, [], []
    for one in asked["views"]:
        for key in one["key"]:
            entities.setdefault(key, Entity(name=key, join_keys=[key], value_type=ValueType.STRING))
        schema = [Field(name=key, dtype=String) for key in one["key"]]
        views.append(
            FeatureView(
                name=one["view"], entities=[entities[key] for key in one["key"]], ttl=timedelta(0),
                source=FileSource(path=str(folder / f"feast-{one['view']}.parquet"), timestamp_field="at"),
                schema=[*schema, *(Field(name=name, dtype=Float64) for name in one["features"])],
            )
        )  # fmt: skip
        wanted += [f"{one['view']}:{name}" for name in one["features"]]
    store.apply([*entities.values(), *views])
    spine = pd.read_parquet(folder / "spine.parquet")
    spine["event_timestamp"] = pd.to_datetime(spine.pop(asked["time"]), unit="ms", utc=True)
    spine["row"] = range(len(spine))
    began_s = time.monotonic()
    found = store.get_historical_features(entity_df=spine, features=wanted, full_feature_names=True).to_df()
    join_s = time.monotonic() - began_s
    names = [one.replace(":", "__") for one in wanted]
    # Rows that it leaves out, or gives twice, are told.
    left_out = len(spine) - found["row"].nunique()
    told = {"join_s": round(join_s, 1), "version": version("feast"), "rows": len(found), "left_out": left_out}
    found.drop_duplicates("row").set_index("row").reindex(range(len(spine)))[names].to_parquet(
        folder / "feast-out.parquet"
    )
    print(json.dumps(told))
