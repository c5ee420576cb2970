"""Makes a Feast repository with 50 features of 2,000 entities in Redis: run by `serve_peers` with the Python that has Feast."""

import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource
from feast.types import Float64

ENTITIES = 2_000
NAMES = [f"f{number}" for number in range(50)]

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    repo = folder / "feast"
    repo.mkdir(exist_ok=True)
    address = (folder / "redis").read_text()
    (repo / "feature_store.yaml").write_text(
        "project: wide\nregistry: registry.db\nprovider: local\nentity_key_serialization_version: 3\n"
        f"online_store:\n  type: redis\n  connection_string: '{address}'\noffline_store:\n  type: file\n"
    )
    rng, now = random.Random(1), datetime.now(UTC)
    rows = {name: [rng.lognormvariate(3, 1) for _ in range(ENTITIES)] for name in NAMES}
    frame = pd.DataFrame({"card": [f"c{n}" for n in range(ENTITIES)], **rows, "at": [now] * ENTITIES})
    frame.to_parquet(repo / "card.parquet")
    source = FileSource(path=str(repo / "card.parquet"), timestamp_field="at")
    card = Entity(name="card", join_keys=["card"])
    view = FeatureView(
        name="card_features", entities=[card], ttl=timedelta(days=30), source=source,
        schema=[Field(name=name, dtype=Float64) for name in NAMES],
    )  # fmt: skip
    store = FeatureStore(repo_path=str(repo))
    store.apply([card, view, FeatureService(name="fifty", features=[view])])
    store.write_to_online_store("card_features", frame)
